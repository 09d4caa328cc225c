//go:build !linux

package e2e

import "syscall"

func endWithTest() *syscall.SysProcAttr { return nil }
