package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	// ours is a path of this tree in backquotes.
	ours = regexp.MustCompile("`((?:cmd|deploy|docs|e2e|examples|internal|scripts|web)/[A-Za-z0-9_./-]+)`")
)

// TestLinks follows every relative link of every Markdown file, to the heading where it names one, and
// looks for every path of this tree that a page mentions.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages := 0
	walkTree(t, func(path string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		pages++
		prose := fenced.ReplaceAllString(read(t, path), "")
		for _, m := range ours.FindAllStringSubmatch(prose, -1) {
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s mentions %s, which is not there", path, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(prose, ""), -1) {
			if fault := follow(path, m[1]); fault != "" {
				t.Errorf("%s: the link to %s %s", path, m[1], fault)
			}
		}
	})
	if pages < 10 {
		t.Errorf("only %d pages were found", pages)
	}
}

// follow says what is wrong with a link on the page at path.
func follow(path, to string) string {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := path
	if file != "" {
		target = filepath.Join(filepath.Dir(path), file)
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return "leads nowhere"
	case anchor == "":
		return ""
	case info.IsDir():
		return "names a heading of a folder"
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
		if anchorOf(m[1]) == anchor {
			return ""
		}
	}
	return "names no heading there"
}

// anchorOf is the anchor that GitHub gives a heading.
func anchorOf(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// TestLinkFaults sees that a link which leads nowhere is found.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"cards.md":              "",
		"cards.md#rate-cards":   "",
		"../docs":               "",
		"https://example.org/x": "",
		"nowhere.md":            "leads nowhere",
		"cards.md#nothing":      "names no heading there",
		"manual#x":              "names a heading of a folder",
	} {
		if got := follow("dependencies.md", to); got != want {
			t.Errorf("follow(%q) = %q, want %q", to, got, want)
		}
	}
}
