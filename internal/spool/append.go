package spool

import (
	"errors"
	"os"
	"time"
)

// write frames r and writes it at the end of the current segment. Called with mu held and room
// made. A partial write leaves the end where it was: the next record overwrites it.
func (s *Spool) write(r *Record) error {
	s.buf = appendRecord(s.buf[:0], r)
	if _, err := s.cur.file.WriteAt(s.buf, s.cur.off); err != nil {
		return s.fail(err)
	}
	s.cur.off += int64(len(s.buf))
	s.written.Store(packed(s.cur.num, s.cur.off))
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// rotate makes the spare the current segment. The old one is synced by the syncer before it may
// count as durable. Called with mu held.
func (s *Spool) rotate() {
	s.cur = s.spare
	s.spare = nil
	s.live[s.cur.num] = s.cur
	s.makeSpareLocked()
}

// makeSpare starts making the next segment in the background, once.
func (s *Spool) makeSpare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeSpareLocked()
}

func (s *Spool) makeSpareLocked() {
	if s.making || s.spare != nil || s.closed {
		return
	}
	s.making = true
	num, dir := s.nextSeg, s.o.Dir
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		seg, err := createSegment(dir, num, s.id.Epoch, s.o.SegmentSize)
		s.mu.Lock()
		s.making = false
		s.spareErr, s.spareTried = s.noSpace(err), time.Now()
		if err == nil {
			s.nextSeg++
			s.spare = seg
		}
		s.spareCond.Broadcast()
		s.mu.Unlock()
	}()
}

// busyCloses is how many CLOSEs in the time of one wait make the next wait short.
const busyCloses = 32

// syncer makes CLOSEs durable: a sync is armed by a CLOSE and covers all that came before it.
func (s *Spool) syncer() {
	defer s.wg.Done()
	wait := s.o.IdleSync
	for {
		select {
		case <-s.stop:
			return
		case <-s.arm:
		}
		// A fixed short timer costs a core some 8 % when nearly idle, for nothing that matters then.
		// In strict mode requests wait: sync at once, those that come meanwhile share the next one.
		if !s.o.Strict {
			before := s.closes.Load()
			timer := time.NewTimer(wait)
			select {
			case <-s.stop:
				timer.Stop()
				return
			case <-timer.C:
			}
			wait = s.o.IdleSync
			if s.closes.Load()-before >= busyCloses {
				wait = s.o.BusySync
			}
		}
		if err := s.syncAll(); err != nil {
			return // failed: OPENs are refused from now on
		}
	}
}

// syncAll syncs every segment written since the last time, oldest first.
func (s *Spool) syncAll() error {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	s.syncMu.Lock()
	from := s.synced
	s.syncMu.Unlock()
	s.mu.Lock()
	to := Position{s.cur.num, s.cur.off}
	var files []*os.File
	for n := from.Segment; n <= to.Segment; n++ {
		if seg := s.live[n]; seg != nil {
			files = append(files, seg.file)
		}
	}
	s.mu.Unlock()
	var err error
	for _, f := range files {
		s.syncs.Add(1)
		if e := datasync(f); e != nil {
			err = s.fail(e)
		}
	}
	s.syncMu.Lock()
	if err == nil {
		s.synced = to
	}
	s.syncCond.Broadcast()
	s.syncMu.Unlock()
	return err
}

// WaitDurable returns when all before pos is on disk. In standard mode it returns at once.
func (s *Spool) WaitDurable(pos Position) error {
	if !s.o.Strict {
		return nil
	}
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	for s.synced.Before(pos) {
		if err := s.Err(); err != nil {
			return errBroken.Because(err)
		}
		s.syncCond.Wait()
	}
	return nil
}

// Settled tells the spool that all records before pos are settled, so that segments which hold
// nothing else can go.
func (s *Spool) Settled(pos Position) error {
	s.settled.Store(packed(pos.Segment, pos.Offset))
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	s.mu.Lock()
	s.floor = max(s.floor, pos.Segment)
	var drop []*segment
	for n, seg := range s.live {
		if n < s.lowest() && seg != s.cur && seg != s.spare {
			drop = append(drop, seg)
			delete(s.live, n)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, seg := range drop {
		errs = append(errs, seg.file.Close(), os.Remove(segmentPath(s.o.Dir, seg.num)))
	}
	if len(drop) > 0 { // room was freed: a spare that could not be made may fit now
		s.makeSpare()
	}
	return errors.Join(errs...)
}

// lowest is the first segment of this epoch that must stay. Called with mu held.
func (s *Spool) lowest() uint32 {
	low := s.floor
	for n, open := range s.perSeg {
		if open > 0 {
			low = min(low, n)
		}
	}
	return low
}

// Close syncs what is written and releases the folder. Requests in flight must have ended: an OPEN
// still without CLOSE is settled at the next start as interrupted. Twice is fine.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	errs := []error{s.syncAll()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare != nil {
		errs = append(errs, s.spare.file.Close(), os.Remove(segmentPath(s.o.Dir, s.spare.num)))
		s.spare = nil
	}
	for _, seg := range s.live {
		errs = append(errs, seg.file.Close())
	}
	errs = append(errs, s.slots.close(), s.lock.Close())
	return errors.Join(errs...)
}
