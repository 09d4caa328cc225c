package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// readChunk is how much is read at once; a record is far smaller.
const readChunk = 512 << 10

// Read decodes records of this epoch from pos on into recs, as many as are written and fit, and
// returns their number and the position behind the last. OPENs are returned too. One goroutine
// reads at a time; it may run beside appends.
func (s *Spool) Read(pos Position, recs []Record) (int, Position, error) {
	end := s.Written()
	n := 0
	for n < len(recs) && pos.Before(end) {
		s.mu.Lock()
		seg := s.live[pos.Segment]
		s.mu.Unlock()
		if seg == nil {
			return n, pos, fmt.Errorf("spool: segment %d is gone before it was settled", pos.Segment)
		}
		limit := seg.size
		if pos.Segment == end.Segment {
			limit = end.Offset
		}
		k, off, err := readRecords(seg.file, pos.Offset, limit, recs[n:])
		n += k
		pos.Offset = off
		if err != nil {
			return n, pos, err
		}
		if k == 0 || n < len(recs) && pos.Segment < end.Segment && off >= limit {
			if pos.Segment == end.Segment {
				break
			}
			pos = Position{pos.Segment + 1, headerSize}
		}
	}
	return n, pos, nil
}

// readRecords decodes whole records of f between off and limit.
func readRecords(f io.ReaderAt, off, limit int64, recs []Record) (n int, next int64, err error) {
	buf := make([]byte, min(readChunk, limit-off, int64(len(recs))*maxClose))
	got, err := f.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, off, err
	}
	buf = buf[:got]
	for n < len(recs) {
		size, ok, err := decode(buf, &recs[n])
		if err != nil {
			return n, off, fmt.Errorf("at offset %d: %w", off, err)
		}
		if !ok {
			return n, off, nil
		}
		n++
		off += int64(size)
		buf = buf[size:]
	}
	return n, off, nil
}

// Dead reads what earlier epochs left behind: first the records in order, then, as CLOSEs with
// outcome Interrupted, the requests that never ended. It is used by one goroutine.
type Dead struct {
	s     *Spool
	nums  []uint32
	at    int
	off   int64
	file  *os.File
	epoch uint64
	open  map[uint64]map[uint64]Record // by epoch and request number
	rest  []Record
	done  bool
}

// Dead opens the segments of earlier epochs for reading. Call [Spool.DropDead] once all is settled.
func (s *Spool) Dead() (*Dead, error) {
	nums, err := listSegments(s.o.Dir)
	if err != nil {
		return nil, err
	}
	d := &Dead{s: s, open: map[uint64]map[uint64]Record{}}
	for _, n := range nums {
		if n < s.id.First {
			d.nums = append(d.nums, n)
		}
	}
	return d, nil
}

// Next fills recs and returns their number and the position behind the last; 0 at the end. In a
// segment, reading stops at the first record that is not intact: what follows was never
// acknowledged as durable. Only CLOSEs are returned; pos of a request without CLOSE is the end of the
// dead segments.
func (d *Dead) Next(recs []Record) (int, Position, error) {
	for d.at < len(d.nums) {
		if d.file == nil {
			if err := d.openSegment(); err != nil {
				return 0, Position{}, err
			}
		}
		n, off, err := readRecords(d.file, d.off, d.s.maxFile(d.file), recs)
		if err != nil {
			return 0, Position{}, fmt.Errorf("segment %d: %w", d.nums[d.at], err)
		}
		d.off = off
		pos := Position{d.nums[d.at], off}
		if n == 0 {
			d.file.Close()
			d.file = nil
			d.at++
			continue
		}
		if n = d.track(recs[:n]); n > 0 {
			return n, pos, nil
		}
	}
	if !d.done {
		if err := d.orphans(); err != nil {
			return 0, Position{}, err
		}
		d.done = true
	}
	n := copy(recs, d.rest)
	d.rest = d.rest[n:]
	return n, d.End(), nil
}

// End is the position behind all dead segments: the beginning of the living epoch.
func (d *Dead) End() Position { return d.s.First() }

func (s *Spool) maxFile(f *os.File) int64 {
	st, err := f.Stat()
	if err != nil {
		return s.o.SegmentSize
	}
	return st.Size()
}

func (d *Dead) openSegment() error {
	num := d.nums[d.at]
	f, err := os.Open(segmentPath(d.s.o.Dir, num))
	if err != nil {
		return err
	}
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return err
	}
	epoch, err := parseHeader(h, num)
	if err != nil {
		if allZero(h) { // the process died while it made this segment; nothing was written to it
			d.file, d.off, d.epoch = f, d.s.maxFile(f), 0
			return nil
		}
		f.Close()
		return err
	}
	d.file, d.off, d.epoch = f, headerSize, epoch
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// track notes OPENs, crosses out those that closed, and keeps the CLOSEs at the front of recs.
func (d *Dead) track(recs []Record) int {
	open := d.open[d.epoch]
	if open == nil {
		open = map[uint64]Record{}
		d.open[d.epoch] = open
	}
	n := 0
	for i := range recs {
		if recs[i].Kind == KindOpen {
			open[recs[i].Seq] = recs[i]
			continue
		}
		delete(open, recs[i].Seq)
		recs[n] = recs[i]
		n++
	}
	return n
}

// orphans turns each OPEN without CLOSE into a CLOSE with what its progress slot says.
func (d *Dead) orphans() error {
	for epoch, open := range d.open {
		if len(open) == 0 {
			continue
		}
		progress, err := readSlots(d.s.slotsPath(epoch))
		if err != nil {
			return err
		}
		for seq, r := range open {
			p := progress[seq] // the zero Progress: nothing was delivered
			r.Kind, r.Outcome = KindClose, Interrupted
			r.Charge, r.Usage, r.Units, r.BytesOut = min(p.Charge, r.Hold), p.Usage, p.Units, p.BytesOut
			r.Flags |= Estimated
			d.rest = append(d.rest, r)
		}
	}
	return nil
}

// DropDead removes the segments and slots of earlier epochs. Call it when all that [Dead] returned is
// settled.
func (s *Spool) DropDead() error {
	nums, err := listSegments(s.o.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nums {
		if n < s.id.First {
			errs = append(errs, os.Remove(segmentPath(s.o.Dir, n)))
		}
	}
	for e := s.id.Epoch; e > 0; e-- {
		err := os.Remove(s.slotsPath(e - 1))
		if os.IsNotExist(err) {
			break
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
