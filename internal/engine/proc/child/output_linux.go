package child

import (
	"os"
	"syscall"
)

// output is the standard output for this package alone: what native code prints there goes to the standard error.
func output() (*os.File, error) {
	fd, err := syscall.Dup(1)
	if err == nil {
		err = syscall.Dup3(2, 1, 0)
	}
	return os.NewFile(uintptr(fd), "output"), err
}
