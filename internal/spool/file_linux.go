package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes the file size bytes long with blocks allocated, so that later writes inside it
// cannot meet a full disk. File systems without fallocate get zeros written.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, size)
	}
	return err
}

// roomFor says whether a file of size bytes leaves a quarter of that free beside it. A file that
// turns out not to fit fills the disk for the moment until it is removed, and whoever else writes
// then, the database for one, fails for our sake.
func roomFor(dir string, size int64) error {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return nil // the file system does not say: the write will
	}
	if free := int64(st.Bavail) * st.Bsize; free < size+size/4 {
		return fmt.Errorf("%d bytes are free in %s, a segment takes %d: %w", free, dir, size, unix.ENOSPC)
	}
	return nil
}

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
