package demo

import (
	"os/exec"
	"syscall"
)

// dieWithTest makes the process end when a test is killed.
func dieWithTest(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
