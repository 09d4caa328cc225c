package spool

import (
	"errors"
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

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
