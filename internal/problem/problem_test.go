package problem

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTextByLanguage(t *testing.T) {
	cause := errors.New("disk on fire")
	e := As(cause)
	if e.Kind != Internal || e.Kind.Status() != 500 {
		t.Fatalf("kind %v", e.Kind)
	}
	if strings.Contains(e.Text("en"), "fire") || strings.Contains(e.Text("zh"), "fire") {
		t.Fatal("the cause must not be shown")
	}
	if e.Text("en") == e.Text("zh") {
		t.Fatal("no Chinese text")
	}
	if !errors.Is(e, cause) {
		t.Fatal("cause lost")
	}
}

var newCall = regexp.MustCompile(`problem\.New\(\s*problem\.\w+,\s*"([^"]+)",\s*("(?:[^"\\]|\\.)*")`)

// TestEveryMessageHasChinese reads the tree's sources: each message id that the code can return
// must be in the Chinese catalogue, with as many verbs as the English one.
func TestEveryMessageHasChinese(t *testing.T) {
	zh := chinese()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range newCall.FindAllStringSubmatch(string(src), -1) {
			text, ok := zh[m[1]]
			if !ok {
				t.Errorf("%s: no Chinese text for message id %q: add it to internal/problem/zh/", path, m[1])
				continue
			}
			if en, cn := verbs(m[2]), verbs(text.text); en != cn {
				t.Errorf("%s: %q has %d verbs in English, %d in Chinese", path, m[1], en, cn)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func verbs(s string) int {
	return strings.Count(strings.ReplaceAll(s, "%%", ""), "%")
}
