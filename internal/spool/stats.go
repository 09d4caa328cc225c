package spool

// Stats are figures for metrics and doctor.
type Stats struct {
	Bytes     int64    // of this epoch's segments on disk
	Open      int      // OPENs without CLOSE
	Unsettled int64    // bytes of records that the settler has not settled, about
	Settled   Position // the settler's cursor
	Syncs     int64    // how often a segment was forced to disk
}

// Stats returns the present figures.
func (s *Spool) Stats() Stats {
	st := Stats{Settled: unpacked(s.settled.Load()), Syncs: s.syncs.Load()}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Open = s.open
	for _, seg := range s.live {
		st.Bytes += seg.size
	}
	if s.spare != nil {
		st.Bytes += s.spare.size
	}
	for n := st.Settled.Segment; n < s.cur.num; n++ {
		if seg := s.live[n]; seg != nil {
			st.Unsettled += seg.off - headerSize
		}
	}
	st.Unsettled += s.cur.off - headerSize
	if st.Settled.Offset > headerSize {
		st.Unsettled -= st.Settled.Offset - headerSize
	}
	st.Unsettled = max(st.Unsettled, 0)
	return st
}
