package spool

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Progress is what a request in flight has used so far. It lives in a memory-mapped file, so that
// the figures outlive the process without a system call for each chunk.
type Progress struct {
	Charge   int64 // nano-units that the delivered part is worth
	Usage    [Classes]int64
	Units    int64 // thousandths of the record's meter
	BytesOut int64
}

const slotSize = 128

// slotWords: 0 seq, 1 charge, 2 bytes out, 3.. usage by class, then units.
type slotWords [slotSize / 8]int64

// slots is the array of progress slots of one epoch.
type slots struct {
	file *os.File
	mem  []byte
	mu   sync.Mutex
	free []int32 // guarded by mu
	next int32   // guarded by mu: slots from here on were never used
	max  int32
}

func openSlots(path string, n int) (*slots, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	// Blocks are reserved up front: a store to a hole on a full disk would kill the process.
	if err := reserve(f, int64(n)*slotSize); err != nil {
		f.Close()
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, n*slotSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("map progress slots: %w", err)
	}
	return &slots{file: f, mem: mem, max: int32(n)}, nil
}

func (s *slots) words(i int32) *slotWords {
	return (*slotWords)(unsafe.Pointer(&s.mem[int(i)*slotSize]))
}

// take claims a slot for the request seq; -1 when all are in use.
func (s *slots) take(seq uint64) int32 {
	s.mu.Lock()
	var i int32
	switch {
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case s.next < s.max:
		i = s.next
		s.next++
	default:
		s.mu.Unlock()
		return -1
	}
	s.mu.Unlock()
	w := s.words(i)
	for k := range w {
		atomic.StoreInt64(&w[k], 0)
	}
	atomic.StoreInt64(&w[0], int64(seq))
	return i
}

func (s *slots) put(i int32) {
	if i < 0 {
		return
	}
	s.mu.Lock()
	s.free = append(s.free, i)
	s.mu.Unlock()
}

func (s *slots) store(i int32, p *Progress) {
	w := s.words(i)
	atomic.StoreInt64(&w[1], p.Charge)
	atomic.StoreInt64(&w[2], p.BytesOut)
	for k, n := range p.Usage {
		atomic.StoreInt64(&w[3+k], n)
	}
	if p.Units != 0 { // take has zeroed it
		atomic.StoreInt64(&w[3+Classes], p.Units)
	}
}

func (s *slots) close() error {
	if err := syscall.Munmap(s.mem); err != nil {
		return err
	}
	return s.file.Close()
}

// readSlots loads the slots of a dead epoch: progress by request number.
func readSlots(path string) (map[uint64]Progress, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	got := map[uint64]Progress{}
	for ; len(data) >= slotSize; data = data[slotSize:] {
		seq := le.Uint64(data)
		if seq == 0 {
			continue
		}
		p := Progress{Charge: int64(le.Uint64(data[8:])), BytesOut: int64(le.Uint64(data[16:]))}
		for k := range p.Usage {
			p.Usage[k] = int64(le.Uint64(data[24+8*k:]))
		}
		p.Units = int64(le.Uint64(data[24+8*Classes:]))
		got[seq] = p
	}
	return got, nil
}
