// Package docs carries the product's manual inside the binary, so that the sandbox model and the
// portal can quote it without a network or an installation directory.
package docs

import (
	"embed"
	"io/fs"
)

//go:embed manual
var files embed.FS

// Manual holds the manual: one folder for each language ("en", "zh"), with the same file names in
// each. A file is Markdown with one first-level heading, its title, and second-level sections that
// can be read on their own.
func Manual() fs.FS {
	sub, err := fs.Sub(files, "manual")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}
