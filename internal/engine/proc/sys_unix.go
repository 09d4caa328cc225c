//go:build unix && !linux

package proc

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd does not wait: what a child leaves behind when it ends by itself is not killed here.
func awaitEnd(int) bool { return false }

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func yield(pid int) { _ = syscall.Setpriority(syscall.PRIO_PGRP, pid, niceness) }

func limitMemory(int, int64) error { return nil }
