package cli

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printJSON writes v, indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// plain makes text from elsewhere safe for a terminal: control characters, which could move the cursor or
// worse, are shown as U+FFFD.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

// grid is a table: the columns are as wide as their widest cell. A heading that begins with ">" is of a
// column of figures, which stand to the right, point below point.
type grid struct {
	heads []string
	rows  [][]string
}

func newGrid(heads ...string) *grid { return &grid{heads: heads} }

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

// drop takes a column out.
func (g *grid) drop(i int) {
	g.heads = slices.Delete(g.heads, i, i+1)
	for j, row := range g.rows {
		g.rows[j] = slices.Delete(row, i, i+1)
	}
}

// dropEmpty takes the column out if no row has anything in it.
func (g *grid) dropEmpty(head string) {
	i := slices.Index(g.heads, head)
	if !slices.ContainsFunc(g.rows, func(row []string) bool { return row[i] != "" }) {
		g.drop(i)
	}
}

func (g *grid) print(w io.Writer) error {
	lines := make([]string, len(g.rows)+1)
	for i, head := range g.heads {
		head, figures := strings.CutPrefix(head, ">")
		cells := make([]string, len(lines))
		for j, row := range g.rows {
			cells[j+1] = strings.NewReplacer("\n", " ", "\t", " ").Replace(plain(row[i]))
		}
		if figures {
			point(cells[1:])
		}
		cells[0] = head
		width := 0
		for _, c := range cells {
			width = max(width, columns(c))
		}
		for j, c := range cells {
			pad := strings.Repeat(" ", width-columns(c))
			switch {
			case figures:
				c = pad + c
			case i < len(g.heads)-1:
				c += pad
			}
			if i > 0 {
				lines[j] += "  "
			}
			lines[j] += c
		}
	}
	for j := range lines {
		lines[j] = strings.TrimRight(lines[j], " ")
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// point pads figures on the right, so that their points come to stand below each other.
func point(cells []string) {
	most := 0
	after := func(c string) int {
		if i := strings.IndexByte(c, '.'); i >= 0 {
			return len(c) - i
		}
		return 0
	}
	for _, c := range cells {
		most = max(most, after(c))
	}
	for i, c := range cells {
		cells[i] = c + strings.Repeat(" ", most-after(c))
	}
}

// columns is how many columns of a terminal a text takes: two for a Chinese character.
func columns(s string) (n int) {
	for _, r := range s {
		n++
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xFF01 && r <= 0xFF60 || r >= 0x3000 && r <= 0x303F {
			n++
		}
	}
	return n
}

// moment shows a time of the server's, "-" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// dash stands for nothing in a table.
func dash(s string) string { return orElse(s, "-") }
