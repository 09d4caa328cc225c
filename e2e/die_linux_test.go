package e2e

import "syscall"

// endWithTest makes a process end when the test is killed.
func endWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
