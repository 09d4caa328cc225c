package spool

import "testing"

func TestStats(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Strict: true})
	if st := s.Stats(); st.Unsettled != 0 || st.Open != 0 || st.Bytes < 64<<10 {
		t.Errorf("%+v", st)
	}
	for i := range 400 { // several segments
		r := sample(i)
		if err := s.AppendOpen(r); err != nil {
			t.Fatal(err)
		}
		pos, err := s.AppendClose(closeRecord(r))
		if err == nil {
			err = s.WaitDurable(pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := sample(0)
	if err := s.AppendOpen(r); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Unsettled < 3*(64<<10) || st.Open != 1 || st.Syncs == 0 || st.Bytes < st.Unsettled {
		t.Errorf("%+v", st)
	}
	half := Position{s.First().Segment + 2, headerSize + 100}
	if err := s.Settled(half); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Unsettled >= st.Unsettled || got.Unsettled == 0 || got.Settled != half {
		t.Errorf("%+v", got)
	}
	if _, err := s.AppendClose(closeRecord(r)); err != nil {
		t.Fatal(err)
	}
	if err := s.Settled(s.Written()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Unsettled != 0 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}
