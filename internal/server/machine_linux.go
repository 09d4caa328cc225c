package server

import (
	"os"
	"syscall"
)

// FreeSpace is how many bytes a process may still write in the folder's file system.
func FreeSpace(dir string) (uint64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

// openFiles is how many descriptors this process has, and may have.
func openFiles() (open, limit uint64, ok bool) {
	var r syscall.Rlimit
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0, 0, false
	}
	return uint64(len(fds)), r.Cur, true
}
