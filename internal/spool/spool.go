// Package spool is the durable local record of the requests that spend money: before a request
// spends anything an OPEN is written, before its last byte leaves a CLOSE that says what it used.
// The settler reads the records behind the requests and turns them into postings.
//
// It knows no prices, no database and no HTTP. One process owns a spool; a second one is refused.
//
// Guarantees:
//   - A record whose Append returned survives the death of the process (kill -9). It survives the
//     loss of power once it is synced: within 5 to 25 ms of a CLOSE, or, in strict mode, before
//     [Spool.WaitDurable] returns.
//   - Once an OPEN was accepted, its CLOSE cannot fail for want of space: the room is reserved.
//   - A segment is removed only when all its records are settled and all its OPENs closed.
//   - When a write or a sync fails the spool accepts no more OPENs (fail closed).
//
// Layout of the folder: lock, spool (identity and epoch), slots-EPOCH, NNNNNNNNNN.seg. A segment is
// a header and records, each framed by its length and CRC-32C, followed by zeros. Writers hold one
// lock over the write, so that a dying process leaves no hole before an acknowledged record.
package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options configure a spool. The zero value of a field means its default.
type Options struct {
	Dir         string
	SegmentSize int64         // bytes of a segment; default 16 MiB; 64 KiB to 1 GiB
	Slots       int           // requests in flight at most; default 32768
	Strict      bool          // WaitDurable waits for the disk; otherwise it returns at once
	BusySync    time.Duration // how long after a CLOSE its sync starts, under load; default 5 ms
	IdleSync    time.Duration // the same when nearly idle; default 25 ms
}

// Position is a place in the spool: the bytes before Offset of segment Segment. Positions order
// as (Segment, Offset).
type Position struct {
	Segment uint32
	Offset  int64
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// identity is the content of the file "spool".
type identity struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	Epoch  uint64 `json:"epoch"`
	// First is the number of the epoch's first segment; all segments before it are of dead epochs.
	First uint32 `json:"first"`
}

const format = 1

// Spool is an open spool. Its methods may be called concurrently.
type Spool struct {
	o     Options
	lock  *os.File
	id    identity
	slots *slots

	mu       sync.Mutex
	cur      *segment            // guarded by mu
	spare    *segment            // guarded by mu; nil while one is being made
	making   bool                // guarded by mu: a spare is being made
	open     int                 // guarded by mu: OPENs without CLOSE in this epoch
	perSeg   map[uint32]int      // guarded by mu: the same by the segment of the OPEN
	seq      uint64              // guarded by mu
	buf      []byte              // guarded by mu
	nextSeg  uint32              // guarded by mu
	live     map[uint32]*segment // guarded by mu: segments of this epoch that are kept
	floor    uint32              // guarded by mu: segments below are settled (the settler's cursor)
	closed   bool                // guarded by mu
	spareErr error               // guarded by mu: why the last spare could not be made
	// spareTried is when that was; guarded by mu. A full disk is asked once a second.
	spareTried time.Time
	spareCond  *sync.Cond // on mu: a spare was made, or could not be

	written atomic.Uint64 // end of what is written: segment above, offset in the low 32 bits
	settled atomic.Uint64 // the settler's cursor, likewise
	syncs   atomic.Int64  // fdatasync calls
	failed  atomic.Pointer[error]
	wake    chan struct{} // something was written; capacity 1

	filesMu  sync.Mutex // held while files of segments are synced, or closed and removed; before mu
	syncMu   sync.Mutex
	syncCond *sync.Cond
	synced   Position // guarded by syncMu: all before it is on disk
	arm      chan struct{}
	closes   atomic.Int64
	stop     chan struct{}
	wg       sync.WaitGroup
}

// Open locks the folder (made when missing), starts a new epoch in a segment of its own and
// returns the spool ready to append. A second process gets a problem.Conflict; a folder written by a
// newer version is refused.
func Open(o Options) (*Spool, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = 16 << 20
	}
	o.SegmentSize = min(max(o.SegmentSize, 64<<10), 1<<30)
	if o.Slots == 0 {
		o.Slots = 32768
	}
	if o.BusySync == 0 {
		o.BusySync = 5 * time.Millisecond
	}
	if o.IdleSync == 0 {
		o.IdleSync = 25 * time.Millisecond
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{o: o, lock: lock, perSeg: map[uint32]int{}, live: map[uint32]*segment{},
		wake: make(chan struct{}, 1), arm: make(chan struct{}, 1), stop: make(chan struct{})}
	s.syncCond = sync.NewCond(&s.syncMu)
	s.spareCond = sync.NewCond(&s.mu)
	if err := s.begin(); err != nil {
		lock.Close()
		return nil, err
	}
	s.wg.Add(1)
	go s.syncer()
	s.makeSpare()
	return s, nil
}

func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner := make([]byte, 20)
		n, _ := f.ReadAt(owner, 0)
		f.Close()
		return nil, problem.New(problem.Conflict, "spool.locked",
			"the data directory %s is in use by another tollgate (process %s); stop it, or give this one its own directory", dir, string(owner[:n])).Because(err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// begin reads the identity, raises the epoch and starts its first segment. The raised epoch is on
// disk before anything of it is used.
func (s *Spool) begin() error {
	path := filepath.Join(s.o.Dir, "spool")
	data, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		s.id = identity{Format: format, ID: db.NewID("spl", time.Now())}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &s.id); err != nil {
			return fmt.Errorf("spool identity %s: %w", path, err)
		}
		if s.id.Format > format {
			return problem.New(problem.Conflict, "spool.newer_format",
				"the spool in %s was written by a newer tollgate (format %d, this one knows %d); start that version or a later one", s.o.Dir, s.id.Format, format)
		}
	}
	nums, err := listSegments(s.o.Dir)
	if err != nil {
		return err
	}
	next := uint32(1)
	if len(nums) > 0 {
		next = nums[len(nums)-1] + 1
	}
	s.id.Epoch++
	// A segment number is never used twice, even if all old segments are gone.
	s.id.First = max(next, s.id.First+1)
	s.nextSeg = s.id.First
	data, err = json.Marshal(s.id)
	if err != nil {
		return err
	}
	if s.slots, err = openSlots(s.slotsPath(s.id.Epoch), s.o.Slots); err != nil {
		return s.noSpace(err)
	}
	seg, err := createSegment(s.o.Dir, s.nextSeg, s.id.Epoch, s.o.SegmentSize)
	if err != nil {
		return errors.Join(s.noSpace(err), s.slots.close())
	}
	if err := writeDurably(path, data); err != nil {
		return errors.Join(s.noSpace(err), s.slots.close())
	}
	s.nextSeg++
	s.cur = seg
	s.live[seg.num] = seg
	s.floor = s.id.First
	s.written.Store(packed(seg.num, headerSize))
	s.settled.Store(packed(seg.num, headerSize))
	s.synced = Position{seg.num, headerSize}
	return nil
}

func (s *Spool) noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return problem.New(problem.Unavailable, "spool.disk_full",
			"no space left on the disk of %s; free some space or move the data directory", s.o.Dir).Because(err)
	}
	return err
}

func (s *Spool) slotsPath(epoch uint64) string {
	return filepath.Join(s.o.Dir, fmt.Sprintf("slots-%d", epoch))
}

// ID identifies the spool in the database. It does not change.
func (s *Spool) ID() string { return s.id.ID }

// Epoch is the number of this run of the spool; each Open raises it.
func (s *Spool) Epoch() uint64 { return s.id.Epoch }

// First is the position at which this epoch begins.
func (s *Spool) First() Position { return Position{s.id.First, headerSize} }

// Written is the end of what is written.
func (s *Spool) Written() Position {
	return unpacked(s.written.Load())
}

func unpacked(w uint64) Position { return Position{uint32(w >> 32), int64(w & (1<<32 - 1))} }

func packed(seg uint32, off int64) uint64 { return uint64(seg)<<32 | uint64(off) }

// Wake receives after records were written; one signal may stand for many.
func (s *Spool) Wake() <-chan struct{} { return s.wake }

// Inflight is the number of OPENs without CLOSE.
func (s *Spool) Inflight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Err is the failure that made the spool refuse, or nil.
func (s *Spool) Err() error {
	if e := s.failed.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *Spool) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	return err
}

var (
	errFull   = problem.New(problem.Unavailable, "spool.full", "the gateway cannot record requests now (its disk is full); try again later")
	errBroken = problem.New(problem.Unavailable, "spool.broken", "the gateway cannot record requests now; try again later")
	errSlots  = problem.New(problem.Unavailable, "spool.busy", "too many requests are in flight on this gateway; try again")
)

// AppendOpen records that a request is about to spend. It assigns r.Seq, r.Slot and r.OpenSeg, and
// reserves the room of the CLOSE. After an error nothing may be spent.
func (s *Spool) AppendOpen(r *Record) error {
	if err := s.Err(); err != nil {
		return errBroken.Because(err)
	}
	r.Kind = KindOpen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errBroken.Because(os.ErrClosed)
	}
	if err := s.room(maxOpen, s.open+1); err != nil {
		return err
	}
	s.seq++
	r.Seq = s.seq
	r.OpenSeg = s.cur.num
	if r.Slot = s.slots.take(r.Seq); r.Slot < 0 {
		return errSlots
	}
	if err := s.write(r); err != nil {
		s.slots.put(r.Slot)
		return errBroken.Because(err)
	}
	s.open++
	s.perSeg[r.OpenSeg]++
	return nil
}

// AppendClose records how the request of r ended and gives its slot back. It must be called exactly
// once for each accepted OPEN, with that record. The position is what WaitDurable takes.
func (s *Spool) AppendClose(r *Record) (Position, error) {
	r.Kind = KindClose
	s.mu.Lock()
	err := s.room(maxClose, s.open-1)
	if err == nil {
		err = s.write(r)
	}
	pos := Position{s.cur.num, s.cur.off}
	if err == nil { // after a failure the slot and the count stay: recovery needs them
		s.open--
		if s.perSeg[r.OpenSeg]--; s.perSeg[r.OpenSeg] == 0 && r.OpenSeg != s.cur.num {
			delete(s.perSeg, r.OpenSeg)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return Position{}, errBroken.Because(err)
	}
	s.slots.put(r.Slot)
	s.closes.Add(1)
	select {
	case s.arm <- struct{}{}:
	default:
	}
	return pos, nil
}

// Progress stores what the request of r has used so far, for recovery to charge.
func (s *Spool) Progress(r *Record, p *Progress) { s.slots.store(r.Slot, p) }

// room makes sure that size bytes can be written now and that the CLOSEs of pending requests still
// fit behind them. A segment that is being made is waited for. Called with mu held.
func (s *Spool) room(size, pending int) error {
	need := int64(size) + int64(max(pending, 0))*maxClose
	for {
		if s.cur.size-s.cur.off < int64(size) && s.spare != nil {
			s.rotate()
		}
		fits := s.cur.size-s.cur.off >= int64(size)
		free := s.cur.size - s.cur.off
		if s.spare != nil {
			free += s.spare.size - headerSize - maxClose // a rotation loses the rest of cur
		}
		if fits && free >= need {
			return nil
		}
		if !s.making {
			if s.spare != nil || s.closed {
				return errFull
			}
			if s.spareErr != nil && time.Since(s.spareTried) < time.Second {
				return errFull.Because(s.spareErr)
			}
			s.makeSpareLocked()
		}
		s.spareCond.Wait()
	}
}
