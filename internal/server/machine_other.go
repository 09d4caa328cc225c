//go:build !linux

package server

// FreeSpace is how many bytes a process may still write in the folder's file system.
func FreeSpace(string) (uint64, bool) { return 0, false }

// openFiles is how many descriptors this process has, and may have.
func openFiles() (open, limit uint64, ok bool) { return 0, 0, false }
