package proc

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes make a child the leader of its own group, and let it die with this process. The kernel means the
// thread that has started it; a Go program ends a thread only with a goroutine that is locked to it, which no
// goroutine here is (golang.org/issue/27505).
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd returns true when the child has ended and is still to be waited for, so that its id is no one else's;
// false where that cannot be had.
func awaitEnd(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

func killGroup(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGKILL) } // it may have ended

// yield lets the platform go first: a child gets the processor after it, and when memory is short the kernel ends the
// child rather than the platform. What the system does not allow is done without.
func yield(pid int) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, niceness)
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
}

// limitMemory bounds the address space of a running process.
func limitMemory(pid int, bytes int64) error {
	limit := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	err := unix.Prlimit(pid, unix.RLIMIT_AS, &limit, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil // it has ended already
	}
	return err
}
