package docs

import (
	"io/fs"
	"strings"
	"testing"
)

// TestManualIsWhole holds the two languages together: the same files with as many sections each.
func TestManualIsWhole(t *testing.T) {
	names, err := fs.Glob(Manual(), "en/*.md")
	if err != nil || len(names) == 0 {
		t.Fatal(err, names)
	}
	for _, name := range names {
		en, err := fs.ReadFile(Manual(), name)
		if err != nil {
			t.Fatal(err)
		}
		other := "zh" + strings.TrimPrefix(name, "en")
		zh, err := fs.ReadFile(Manual(), other)
		if err != nil {
			t.Error(err)
			continue
		}
		if a, b := strings.Count(string(en), "\n## "), strings.Count(string(zh), "\n## "); a != b || a == 0 {
			t.Errorf("%s has %d sections, %s has %d", name, a, other, b)
		}
		if !strings.HasPrefix(string(en), "# ") || !strings.HasPrefix(string(zh), "# ") {
			t.Errorf("%s or %s does not begin with a title", name, other)
		}
	}
	if zh, err := fs.Glob(Manual(), "zh/*.md"); err != nil || len(zh) != len(names) {
		t.Errorf("%d files in zh, %d in en: %v", len(zh), len(names), err)
	}
}
