//go:build !linux

package spool

import "os"

func reserve(f *os.File, size int64) error { return writeZeros(f, size) }

func roomFor(string, int64) error { return nil }

func datasync(f *os.File) error { return f.Sync() }
