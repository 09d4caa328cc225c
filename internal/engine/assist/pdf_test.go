package assist

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// pdftotext is the program, which the engines bring.
func pdftotext(t testing.TB) string {
	t.Helper()
	path := proc.Find("pdftotext")
	if path == "" {
		enginetest.Absent(t, "pdftotext")
	}
	return path
}

// makePDF is a PDF (ISO 32000-1) with a page for each list of lines; an empty line is a larger step down.
func makePDF(pages [][]string, trailer string) []byte {
	var b bytes.Buffer
	var at []int
	object := func(body string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), body)
	}
	b.WriteString("%PDF-1.4\n")
	var kids []string
	for i := range pages {
		kids = append(kids, fmt.Sprintf("%d 0 R", 4+2*i))
	}
	object("<</Type/Catalog/Pages 2 0 R>>")
	object(fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]>>", len(pages), strings.Join(kids, " ")))
	object("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	for i, lines := range pages {
		object(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>/Contents %d 0 R>>", 5+2*i))
		var s strings.Builder
		y := 760
		for _, line := range lines {
			if y -= 14; line == "" {
				y -= 20
				continue
			}
			fmt.Fprintf(&s, "BT /F 12 Tf 50 %d Td (%s) Tj ET\n", y, line)
		}
		object(fmt.Sprintf("<</Length %d>>\nstream\n%sendstream", s.Len(), s.String()))
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, trailer, start)
	return b.Bytes()
}

var handbook = [][]string{
	{"Acme handbook 2026", "", "Refund policy", "", "Customers may return goods within forty days. The mon-", "ey is sent back to the card that paid.", "", "Exchanges are free of charge in every shop that we have.", "", "1"},
	{"Acme handbook 2026", "", "Postage for returns is paid by us, whatever the parcel weighs and wherever it comes from.", "", "2"},
	{"Acme handbook 2026", "", "Opening hours", "Our shops are open from nine to six on all days but Sunday, and until eight in summer.", "", "3"},
}

func TestPDF(t *testing.T) {
	program := pdftotext(t)
	ctx := context.Background()
	x, err := readPDF(ctx, program, makePDF(handbook, ""))
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]string{}
	for _, p := range split(x.text) {
		headings[p.Heading] += x.text[p.Start:p.End]
	}
	for heading, text := range map[string]string{"Page 1 › Refund policy": "The money is sent back", "Page 2 › Refund policy": "Postage", "Page 3 › Opening hours": "nine to six"} {
		if !strings.Contains(headings[heading], text) {
			t.Errorf("%s: %q of %q", heading, headings[heading], x.text)
		}
	}
	if x.title != "Refund policy" || strings.Contains(x.text, "handbook") {
		t.Errorf("title %q, %q", x.title, x.text)
	}

	whole := makePDF(handbook, "")
	lock := fmt.Sprintf("/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>", strings.Repeat("aa", 32), strings.Repeat("bb", 32))
	many := make([][]string, 2000)
	for i := range many {
		for range 50 {
			many[i] = append(many[i], strings.Repeat("words and more ", 6))
		}
	}
	for name, c := range map[string]struct {
		data []byte
		id   string
	}{
		"empty":   {nil, "assist.unreadable"},
		"head":    {[]byte("%PDF-"), "assist.unreadable"},
		"noise":   {append([]byte("%PDF-1.4\n"), bytes.Repeat([]byte("obj<<[("), 100_000)...), "assist.unreadable"},
		"locked":  {makePDF(handbook, lock), "assist.pdf_locked"},
		"scanned": {makePDF([][]string{{}, {}}, ""), "assist.pdf_scanned"},
		"long":    {makePDF(many, ""), "assist.document_too_large"},
	} {
		if _, err := readPDF(ctx, program, c.data); problem.As(err).ID != c.id {
			t.Errorf("%s: %v, want %s", name, err, c.id)
		}
	}
	if _, err := readPDF(ctx, program, whole[:len(whole)*2/3]); err != nil && problem.As(err).ID != "assist.unreadable" && problem.As(err).ID != "assist.pdf_scanned" {
		t.Errorf("cut off: %v", err)
	}
	over, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	if _, err := readPDF(over, program, whole); problem.As(err).Kind != problem.Timeout {
		t.Errorf("no time: %v", err)
	}
}

func FuzzPDFText(f *testing.F) {
	f.Add("Head\n\nA first paragraph that is longer.\f2\n\nexam-\nple\f\f\n#no\n\n- x")
	f.Fuzz(func(t *testing.T, text string) {
		x := pdfText(normalise(strings.ReplaceAll(text, "\f", pageMark)))
		for _, p := range split(x.text) {
			if p.Start >= p.End || p.End > len(x.text) {
				t.Fatalf("%q: %v", x.text, p)
			}
		}
	})
}
