package tokens

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/docs"
	"github.com/tollgate-io/tollgate/internal/llm"
)

// corpora are texts of three kinds: English and Chinese prose with some code words, and Go source.
func corpora(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, lang := range []string{"en", "zh"} {
		files, err := fs.Glob(docs.Manual(), lang+"/*.md")
		if err != nil || len(files) == 0 {
			t.Fatal(err, files)
		}
		for _, name := range files {
			data, err := fs.ReadFile(docs.Manual(), name)
			if err != nil {
				t.Fatal(err)
			}
			all[lang] += string(data)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all["code"] += string(data)
	}
	return all
}

// deliver measures text as if it had been streamed in pieces of so many bytes.
func deliver(text string, piece int) llm.Delivered {
	n := int64(len(text)+piece-1) / int64(piece)
	return llm.Delivered{Text: []byte(text[:min(len(text), llm.TextKept)]), Bytes: int64(len(text)), Chunks: n, Choices: n}
}

// TestCheapFigures holds llm.Delivered's figures, which need no tokenizer, against the tokenizer.
func TestCheapFigures(t *testing.T) {
	var c Counter
	for name, text := range corpora(t) {
		exact := c.Text(text)
		for _, piece := range []int{1, 3, 4, 6, 50, 1000} {
			d := deliver(text, piece)
			estimate, floor := d.Estimate(), d.Floor()
			t.Logf("%s in pieces of %d: %d tokens, estimate %+.0f %%, floor %+.0f %%", name, piece, exact,
				100*(float64(estimate)/float64(exact)-1), 100*(float64(floor)/float64(exact)-1))
			if estimate < exact/2 || estimate > 2*exact || floor > exact {
				t.Errorf("%s in pieces of %d: %d tokens, estimate %d, floor %d", name, piece, exact, estimate, floor)
			}
		}
	}
}

// TestKeptPartIsEnough holds the count made from the kept part of a long text against the whole.
func TestKeptPartIsEnough(t *testing.T) {
	var c Counter
	for name, text := range corpora(t) {
		text = strings.Repeat(text, 5)
		d := deliver(text, 4)
		exact := c.Text(text)
		if got, _ := c.Output(&d); got < exact*8/10 || got > exact*12/10 {
			t.Errorf("%s: %d, is %d", name, got, exact)
		}
	}
}
