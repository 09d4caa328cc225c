package docs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRoomTable compares the tables of ARCHITECTURE.md with those that arch_test.go enforces.
func TestRoomTable(t *testing.T) {
	t.Parallel()
	page, source := read(t, "../ARCHITECTURE.md"), read(t, "../arch_test.go")
	var want, got []string
	kinds := between(t, source, "var kinds = map[string]string{", "\n}")
	for _, m := range regexp.MustCompile(`(?m)^\t"(\w+)": +"(.*)",$`).FindAllStringSubmatch(kinds, -1) {
		want = append(want, m[1]+": "+m[2])
	}
	for row := range strings.Lines(between(t, source, "parseTable(`", "`)")) {
		if f := strings.Fields(row); len(f) > 0 {
			want = append(want, f[0]+" "+f[1]+": "+strings.Join(f[2:], " "))
		}
	}
	for row := range strings.Lines(between(t, page, "## Rooms", "\n## ")) {
		f := strings.Split(strings.Trim(row, "|\n"), "|")
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		switch {
		case !strings.HasPrefix(row, "| ") || f[0] == "kind" || f[0] == "room":
		case len(f) == 2:
			got = append(got, f[0]+": "+f[1])
		case len(f) == 4:
			got = append(got, f[0]+" "+f[1]+": "+f[2])
		default:
			t.Errorf("row with %d cells: %s", len(f), row)
		}
	}
	if len(want) < 20 {
		t.Fatalf("only %d lines were found in arch_test.go", len(want))
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("ARCHITECTURE.md lacks the line %q", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("ARCHITECTURE.md has the line %q, arch_test.go does not", line)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between returns what stands in text between two marks.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, from)
	inner, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%q … %q not found", from, to)
	}
	return inner
}
