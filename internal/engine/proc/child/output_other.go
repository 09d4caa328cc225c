//go:build !linux

package child

import "os"

// output is the standard output.
func output() (*os.File, error) { return os.Stdout, nil }
