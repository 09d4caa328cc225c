package engine

import (
	"os"
	"path/filepath"
)

// Dir is the engines directory: what scripts/install-engines put there. "" has nothing.
type Dir string

// Path is the path of a file in it, or "" where it is missing.
func (d Dir) Path(elem ...string) string {
	if d == "" {
		return ""
	}
	p := filepath.Join(append([]string{string(d)}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}
