package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmes holds the two READMEs together: the same commands, outputs and figures.
func TestReadmes(t *testing.T) {
	t.Parallel()
	en := fenced.FindAllString(read(t, "../README.md"), -1)
	zh := fenced.FindAllString(read(t, "../README.zh-CN.md"), -1)
	if diff := cmp.Diff(en, zh); diff != "" || len(en) == 0 {
		t.Errorf("the fenced blocks differ (-English +Chinese):\n%s", diff)
	}
}
