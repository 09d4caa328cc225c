package assist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of one run of pdftotext. It is a child process: a file that makes it crash, hang or swell harms nothing else.
const (
	pdfTime   = 20 * time.Second
	pdfMemory = 1 << 30
	pdfPages  = "3000"
)

// isPDF reports a PDF by its name, its media type or, where neither says anything else, its first bytes.
func isPDF(name, mediaType string, data []byte) bool {
	ext := strings.ToLower(path.Ext(name))
	mediaType, _, _ = strings.Cut(strings.ToLower(mediaType), ";")
	return ext == ".pdf" || strings.TrimSpace(mediaType) == "application/pdf" || ext == "" && bytes.HasPrefix(data, []byte("%PDF-"))
}

// read takes the text out of a file of any type that is read.
func (e *Engine) read(ctx context.Context, name, mediaType string, data []byte) (extracted, error) {
	if !isPDF(name, mediaType, data) {
		return extract(name, mediaType, data)
	}
	if len(data) > maxFile {
		return extracted{}, tooBig()
	}
	program := proc.Find("pdftotext")
	if program == "" {
		return extracted{}, engine.Missing("reading PDF files (pdftotext)")
	}
	return readPDF(ctx, program, data)
}

// readPDF has poppler's pdftotext take out the text in reading order.
func readPDF(ctx context.Context, program string, data []byte) (extracted, error) {
	ctx, cancel := context.WithTimeout(ctx, pdfTime)
	defer cancel()
	out, err := proc.Run(ctx, proc.Spec{Path: program, Args: []string{"-enc", "UTF-8", "-eol", "unix", "-l", pdfPages, "-", "-"}, Memory: pdfMemory}, data, maxText+1)
	switch {
	case err == nil:
	case errors.Is(err, proc.ErrOutput):
		return extracted{}, tooLong()
	case !problem.Is(err, problem.Unavailable): // over time, or the caller left
		return extracted{}, err
	case strings.Contains(fmt.Sprint(errors.Unwrap(err)), "Incorrect password"):
		return extracted{}, problem.New(problem.Unprocessable, "assist.pdf_locked", "the PDF is protected by a password; send it without one").Because(err)
	default:
		return extracted{}, unreadable("PDF").Because(err)
	}
	x := pdfText(normalise(strings.ReplaceAll(string(out), "\f", "\n"+pageMark+"\n")))
	switch {
	case len(x.text) > maxText:
		return extracted{}, tooLong()
	case strings.TrimSpace(x.text) == "":
		return extracted{}, problem.New(problem.Unprocessable, "assist.pdf_scanned", "there is no text in the PDF, it may be scanned; read its pages with POST /v1/vision/ocr and send the text")
	}
	return x, nil
}

// pageMark stands for the end of a page while pages are taken apart; it is a private-use character.
const pageMark = "\ue00c"

// pdfText gives a text of pages headings: the page's number, so that citations name it, and below it the short lines that stand
// alone above a paragraph. What every page repeats, as page numbers and running titles, is left out.
func pdfText(text string) extracted {
	pages := strings.Split(text, pageMark)
	for i := range pages {
		pages[i] = strings.Trim(pages[i], "\n")
	}
	repeated := running(pages)
	format := "Page %d"
	if script(cutRunes(text, 4000)) == "zh" {
		format = "第 %d 页"
	}
	var x extracted
	var b strings.Builder
	section := ""
	for i, page := range pages {
		paragraphs := paragraphsOf(page, repeated)
		if len(paragraphs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# "+format+"\n\n", i+1)
		for j, p := range paragraphs {
			if j+1 < len(paragraphs) && headline(p, paragraphs[j+1]) {
				section = strings.TrimLeft(p, "# ")
				if x.title == "" {
					x.title = oneLine(section, 200)
				}
				b.WriteString("## " + section + "\n\n")
				continue
			}
			if j == 0 && section != "" { // it goes on from the page before
				b.WriteString("## " + section + "\n\n")
			}
			b.WriteString(strings.ReplaceAll("\n"+p, "\n#", "\n #")[1:] + "\n\n")
		}
	}
	x.text = b.String()
	return x
}

// running are the first and last lines that most pages share once their digits are taken off.
func running(pages []string) map[string]bool {
	count := map[string]int{}
	for _, page := range pages {
		lines := strings.Split(page, "\n")
		for key := range map[string]bool{bareLine(lines[0]): true, bareLine(lines[len(lines)-1]): true} {
			count[key]++
		}
	}
	out := map[string]bool{"": true}
	for key, n := range count {
		if n >= 3 && 2*n > len(pages) {
			out[key] = true
		}
	}
	return out
}

func bareLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, s))
}

// paragraphsOf takes a page apart at its empty lines, without running lines, and joins words that a line end divides.
func paragraphsOf(page string, repeated map[string]bool) (out []string) {
	lines := strings.Split(page, "\n")
	if len(lines) > 0 && repeated[bareLine(lines[0])] {
		lines = lines[1:]
	}
	if n := len(lines) - 1; n >= 0 && repeated[bareLine(lines[n])] {
		lines = lines[:n]
	}
	for p := range strings.SplitSeq(strings.Join(lines, "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if first, rest, ok := strings.Cut(p, "\n"); ok && stands(first, rest) {
			out = append(out, strings.TrimSpace(first))
			p = rest
		}
		out = append(out, undivided(p))
	}
	return out
}

// stands reports a first line that is no part of the paragraph it is joined to: it ends long before the next does, which
// begins anew.
func stands(first, rest string) bool {
	next, _, _ := strings.Cut(rest, "\n")
	r := firstRune(strings.TrimSpace(next))
	return headline(strings.TrimSpace(first), next) && (unicode.IsUpper(r) || wide(r)) && 10*len([]rune(first)) < 6*len([]rune(next))
}

// undivided joins "exam-", "ple" of two lines to one word.
func undivided(p string) string {
	var out []byte
	for line := range strings.SplitSeq(p, "\n") {
		line = strings.TrimSpace(line)
		if n := len(out); n > 1 {
			r, _ := utf8.DecodeLastRune(out[:n-1])
			if out[n-1] == '-' && unicode.IsLetter(r) && unicode.IsLower(firstRune(line)) {
				out = out[:n-1]
			} else {
				out = append(out, '\n')
			}
		}
		out = append(out, line...)
	}
	return string(out)
}

// headline reports a paragraph that looks like the heading of the next: one short line that is no sentence.
func headline(p, next string) bool {
	if strings.Contains(p, "\n") || longer(p, 70) || !longer(next, len([]rune(p))) {
		return false
	}
	letters := 0
	for _, r := range p {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	last := lastRune(p)
	return letters >= 2 && !strings.ContainsRune(".。,，;；:：!！…-", last) && !strings.ContainsAny(p[:1], "-•*")
}
