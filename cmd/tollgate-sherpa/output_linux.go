package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// output is the standard output for this program alone: what native code prints there goes to the standard error.
func output() (*os.File, error) {
	fd, err := unix.Dup(1)
	if err == nil {
		err = unix.Dup3(2, 1, 0)
	}
	return os.NewFile(uintptr(fd), "output"), err
}
