package spool

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	magic      = "TGSPOOL\x01"
	headerSize = 64
)

// segment is one file. off is guarded by Spool.mu.
type segment struct {
	num  uint32
	file *os.File
	off  int64
	size int64
}

func segmentPath(dir string, num uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%010d.seg", num))
}

// createSegment makes a durable, empty segment with all its blocks allocated.
func createSegment(dir string, num uint32, epoch uint64, size int64) (_ *segment, err error) {
	if err := roomFor(dir, size); err != nil {
		return nil, err
	}
	path := segmentPath(dir, num)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path)
		}
	}()
	if err := writeZeros(f, size); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(header(num, epoch), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	return &segment{num: num, file: f, off: headerSize, size: size}, nil
}

func header(num uint32, epoch uint64) []byte {
	h := make([]byte, headerSize)
	copy(h, magic)
	le.PutUint32(h[8:], num)
	le.PutUint64(h[16:], epoch)
	le.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
	return h
}

func parseHeader(h []byte, num uint32) (epoch uint64, err error) {
	switch {
	case len(h) < headerSize || string(h[:7]) != magic[:7]:
		return 0, fmt.Errorf("spool: segment %d has no header", num)
	case h[7] > magic[7]:
		return 0, fmt.Errorf("spool: segment %d was written by a newer version", num)
	case le.Uint32(h[60:]) != crc32.Checksum(h[:60], castagnoli) || le.Uint32(h[8:]) != num:
		return 0, fmt.Errorf("spool: segment %d has a damaged header", num)
	}
	return le.Uint64(h[16:]), nil
}

// listSegments gives the numbers of the segments in the folder, ascending.
func listSegments(dir string) ([]uint32, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		return nil, err
	}
	var nums []uint32
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".seg"), 10, 32)
		if err != nil {
			continue // not ours
		}
		nums = append(nums, uint32(n))
	}
	slices.Sort(nums)
	return nums, nil
}
