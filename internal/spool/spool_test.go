package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func open(t *testing.T, o Options) *Spool {
	t.Helper()
	if o.Slots == 0 {
		o.Slots = 64
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 10
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sample(n int) *Record {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Record{Time: db.Micros(now), Event: db.NewUUID(now), Org: db.NewUUID(now), Hold: int64(n), NLease: 2,
		Leases: [MaxLeases]db.UUID{db.NewUUID(now), db.NewUUID(now)}, Model: "acme/model"}
}

func closeRecord(r *Record) *Record {
	r.Outcome, r.Status, r.Charge = Completed, 200, r.Hold/2
	r.Usage = [Classes]int64{1, 2, 3, 4, 5, 6, 7}
	if r.Seq%2 == 1 {
		r.Meter, r.Units = "audio_seconds", 1500
	}
	r.RequestDigest[0], r.ResponseDigest[31] = 1, 2
	return r
}

// readAll reads the living epoch from its beginning.
func readAll(t *testing.T, s *Spool) []Record {
	t.Helper()
	var all []Record
	buf := make([]Record, 7)
	for pos := s.First(); pos.Before(s.Written()); {
		n, next, err := s.Read(pos, buf)
		if err != nil {
			t.Fatal(err)
		}
		if next == pos {
			t.Fatalf("no progress at %+v of %+v", pos, s.Written())
		}
		all = append(all, buf[:n]...)
		pos = next
	}
	return all
}

func readDead(t *testing.T, s *Spool) []Record {
	t.Helper()
	d, err := s.Dead()
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	buf := make([]Record, 5)
	for {
		n, _, err := d.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		all = append(all, buf[:n]...)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := *sample(rapid.IntRange(0, 1<<40).Draw(t, "hold"))
		r.Kind = KindOpen
		r.Flags = Flags(rapid.Byte().Draw(t, "flags"))
		r.NLease = uint8(rapid.IntRange(0, MaxLeases).Draw(t, "leases"))
		clear(r.Leases[r.NLease:])
		r.Model = string(rapid.SliceOfN(rapid.Byte(), 0, MaxModel).Draw(t, "model"))
		if rapid.Bool().Draw(t, "close") {
			closeRecord(&r).Kind = KindClose
			r.Charge = rapid.Int64().Draw(t, "charge")
		}
		b := appendRecord(nil, &r)
		if len(b) > maxClose || r.Kind == KindOpen && len(b) > maxOpen {
			t.Fatalf("%d bytes", len(b))
		}
		var got Record
		n, ok, err := decode(append(b, 1, 2, 3), &got)
		if err != nil || !ok || n != len(b) {
			t.Fatal(n, ok, err)
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Fatal(d)
		}
		b[rapid.IntRange(frame, len(b)-1).Draw(t, "flip")] ^= 0x40
		if _, ok, _ := decode(b, &got); ok {
			t.Fatal("a damaged record was accepted")
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(appendRecord(nil, func() *Record { r := sample(9); r.Kind = KindOpen; return r }()))
	f.Add(appendRecord(nil, func() *Record { r := closeRecord(sample(9)); r.Kind = KindClose; return r }()))
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		n, ok, err := decode(b, &r)
		if ok && err == nil && !bytes.Equal(appendRecord(nil, &r), b[:n]) {
			t.Fatal("what was decoded does not encode to the same bytes")
		}
		_ = decodePayload(b, &r)
	})
}

func TestAppendReadRotate(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	var want []Record
	for i := range 1000 { // several segments of 64 KiB
		r := sample(i)
		if err := s.AppendOpen(r); err != nil {
			t.Fatal(err)
		}
		want = append(want, *r)
		if _, err := s.AppendClose(closeRecord(r)); err != nil {
			t.Fatal(err)
		}
		want = append(want, *r)
	}
	got := readAll(t, s)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if err := s.Settled(s.Written()); err != nil {
		t.Fatal(err)
	}
	nums, err := listSegments(s.o.Dir)
	if err != nil || len(nums) > 2 {
		t.Fatalf("settled segments were kept: %v %v", nums, err)
	}
}

func TestSegmentStaysWhileAnOpenInItRuns(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	long := sample(1)
	if err := s.AppendOpen(long); err != nil {
		t.Fatal(err)
	}
	for range 400 {
		r := sample(1)
		if err := s.AppendOpen(r); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AppendClose(closeRecord(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settled(s.Written()); err != nil {
		t.Fatal(err)
	}
	nums, _ := listSegments(s.o.Dir)
	if nums[0] != s.First().Segment {
		t.Fatal("the segment of a running request is gone")
	}
	if _, err := s.AppendClose(closeRecord(long)); err != nil {
		t.Fatal(err)
	}
	if err := s.Settled(s.Written()); err != nil {
		t.Fatal(err)
	}
	if nums, _ = listSegments(s.o.Dir); nums[0] == s.First().Segment {
		t.Fatal("the segment was kept")
	}
}

// crash abandons s as a killed process would: nothing is flushed or closed but the lock. A segment that is being made
// is waited for, since the dead make none.
func crash(s *Spool) {
	s.mu.Lock()
	for s.making {
		s.spareCond.Wait()
	}
	s.mu.Unlock()
	s.lock.Close()
}

func TestRecoveryGivesClosesThenInterrupted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	done, lost, silent := sample(100), sample(200), sample(300)
	for _, r := range []*Record{done, lost, silent} {
		if err := s.AppendOpen(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AppendClose(closeRecord(done)); err != nil {
		t.Fatal(err)
	}
	s.Progress(lost, &Progress{Charge: 150, Usage: [Classes]int64{0: 10, 3: 5}, Units: 2500, BytesOut: 77})
	crash(s)

	// A second run that dies before it recovers must not lose what the first left.
	s2 := open(t, Options{Dir: dir})
	if s2.Epoch() != s.Epoch()+1 || s2.ID() != s.ID() {
		t.Fatal("epoch or identity")
	}
	crash(s2)
	s3 := open(t, Options{Dir: dir})
	got := readDead(t, s3)
	if len(got) != 3 {
		t.Fatalf("%d records", len(got))
	}
	by := map[db.UUID]Record{}
	for _, r := range got {
		by[r.Event] = r
	}
	if r := by[done.Event]; r.Outcome != Completed || r.Charge != 50 {
		t.Errorf("done: %+v", r)
	}
	if r := by[lost.Event]; r.Kind != KindClose || r.Outcome != Interrupted || r.Charge != 150 || r.Usage[3] != 5 || r.Units != 2500 || r.BytesOut != 77 {
		t.Errorf("lost: %+v", r)
	}
	if r := by[silent.Event]; r.Outcome != Interrupted || r.Charge != 0 {
		t.Errorf("silent: %+v", r)
	}
	if err := s3.DropDead(); err != nil {
		t.Fatal(err)
	}
	if got := readDead(t, s3); len(got) != 0 {
		t.Fatal("dead segments were not dropped")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "slots-*")); len(names) != 1 {
		t.Fatal(names)
	}
}

func TestRecoveryCapsProgressAtHold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	r := sample(100)
	if err := s.AppendOpen(r); err != nil {
		t.Fatal(err)
	}
	s.Progress(r, &Progress{Charge: 1 << 40})
	crash(s)
	if got := readDead(t, open(t, Options{Dir: dir})); got[0].Charge != 100 {
		t.Fatal(got[0].Charge)
	}
}

// TestTornTail cuts and damages the last record in every way: all before it is read, nothing of it.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	a, b := sample(1), sample(2)
	for _, r := range []*Record{a, b} {
		if err := s.AppendOpen(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AppendClose(closeRecord(a)); err != nil {
		t.Fatal(err)
	}
	before := s.Written()
	if _, err := s.AppendClose(closeRecord(b)); err != nil {
		t.Fatal(err)
	}
	after := s.Written()
	crash(s)
	path := segmentPath(dir, before.Segment)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := before.Offset; cut < after.Offset; cut += 9 {
		data := bytes.Clone(whole)
		clear(data[cut:])
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		got := readDead(t, s)
		crash(s)
		if len(got) != 2 || got[0].Outcome != Completed || got[1].Outcome != Interrupted {
			t.Fatalf("cut at %d: %+v", cut, got)
		}
	}
}

func TestSecondProcessAndNewerFormatAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}); !problem.Is(err, problem.Conflict) {
		t.Fatal(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "spool"), []byte(`{"format":99,"id":"x","epoch":1,"first":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); !problem.Is(err, problem.Conflict) {
		t.Fatal(err)
	}
}

// TestFullDisk runs out of segments: OPENs are refused, but every accepted one can close.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Slots: 4096})
	s.mu.Lock()
	for s.making {
		s.spareCond.Wait()
	}
	// From here on segments cannot be made: their folder is gone.
	gone := s.o.Dir
	s.o.Dir = filepath.Join(dir, "missing")
	s.mu.Unlock()
	var running []*Record
	for {
		r := sample(1)
		if err := s.AppendOpen(r); err != nil {
			if !problem.Is(err, problem.Unavailable) {
				t.Fatal(err)
			}
			break
		}
		running = append(running, r)
	}
	if len(running) < 50 {
		t.Fatalf("only %d were accepted", len(running))
	}
	for i, r := range running {
		if _, err := s.AppendClose(closeRecord(r)); err != nil {
			t.Fatalf("close %d of %d: %v", i, len(running), err)
		}
	}
	if got := readAll(t, s); len(got) != 2*len(running) {
		t.Fatal(len(got))
	}
	s.mu.Lock()
	s.o.Dir, s.spareTried = gone, time.Time{}
	s.mu.Unlock()
	if err := s.AppendOpen(sample(1)); err != nil {
		t.Fatalf("space came back, but: %v", err)
	}
}

func TestFailedWriteRefusesAllThatFollows(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	r := sample(1)
	if err := s.AppendOpen(r); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	file := s.cur.file
	ro, err := os.Open(file.Name()) // not writable
	if err != nil {
		t.Fatal(err)
	}
	s.cur.file = ro
	s.mu.Unlock()
	if _, err := s.AppendClose(closeRecord(r)); err == nil {
		t.Fatal("the failed write was reported as done")
	}
	s.mu.Lock()
	s.cur.file = file
	s.mu.Unlock()
	ro.Close()
	if err := s.AppendOpen(sample(1)); !problem.Is(err, problem.Unavailable) {
		t.Fatal(err)
	}
	if s.Inflight() != 1 {
		t.Fatal("the request whose CLOSE failed was forgotten")
	}
}

func TestStrictWaitsForTheDisk(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Strict: true})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				r := sample(1)
				if err := s.AppendOpen(r); err != nil {
					t.Error(err)
					return
				}
				pos, err := s.AppendClose(closeRecord(r))
				if err == nil {
					err = s.WaitDurable(pos)
				}
				if err != nil {
					t.Error(err)
				}
				s.syncMu.Lock()
				if s.synced.Before(pos) {
					t.Error("returned before the sync")
				}
				s.syncMu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(readAll(t, s)) != 16*20*2 {
		t.Fatal("records are missing")
	}
}

func TestSlotsRunOut(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Slots: 2})
	a, b, c := sample(1), sample(1), sample(1)
	if s.AppendOpen(a) != nil || s.AppendOpen(b) != nil {
		t.Fatal("two fit")
	}
	if err := s.AppendOpen(c); !problem.Is(err, problem.Unavailable) {
		t.Fatal(err)
	}
	if _, err := s.AppendClose(closeRecord(a)); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendOpen(c); err != nil {
		t.Fatal(err)
	}
}

// TestConcurrentAppends has many writers, a reader and rotation at once.
func TestConcurrentAppends(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Slots: 64})
	const writers, each = 8, 300
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				r := sample(1)
				if err := s.AppendOpen(r); err != nil {
					t.Error(err)
					return
				}
				s.Progress(r, &Progress{Charge: 1})
				if _, err := s.AppendClose(closeRecord(r)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	closes, pos := 0, s.First()
	buf := make([]Record, 100)
	for closes < writers*each && !t.Failed() {
		<-s.Wake()
		for pos.Before(s.Written()) {
			n, next, err := s.Read(pos, buf)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range buf[:n] {
				if r.Kind == KindClose {
					closes++
				}
			}
			pos = next
			if err := s.Settled(pos); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
}

func TestDiskFullOnOpenIsExplained(t *testing.T) {
	s := &Spool{o: Options{Dir: "/data"}}
	if err := s.noSpace(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}); !problem.Is(err, problem.Unavailable) {
		t.Fatal(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := sample(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.AppendOpen(r); err != nil {
			b.Fatal(err)
		}
		if _, err := s.AppendClose(closeRecord(r)); err != nil {
			b.Fatal(err)
		}
		if r.Seq%10000 == 0 {
			s.Settled(s.Written())
		}
	}
}
