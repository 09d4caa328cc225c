//go:build ignore

// Command make writes words.gz from the simplified dictionary of gse (Apache-2.0), as its module carries it:
//
//	go run make.go data/dict/zh/s_1.txt words.gz
//
// The first line is the sum of all frequencies. Then comes one line a word of at most eight characters, by the words' bytes:
// word TAB frequency TAB the first two letters of the part of speech. Longer entries are sentences and titles.
package main

import (
	"compress/gzip"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: make S_1.TXT OUT")
	}
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	total := 0
	lines := map[string]string{}
	for l := range strings.Lines(string(data)) {
		var w, pos string
		var freq int
		if n, _ := fmt.Sscan(l, &w, &freq, &pos); n < 2 || freq < 2 || lines[w] != "" {
			continue
		}
		size := utf8.RuneCountInString(w)
		if size == 1 {
			freq = 2 // as gse does: words are to win over their characters
		}
		total += freq
		if size <= 8 {
			lines[w] = fmt.Sprintf("%s\t%d\t%s", w, freq, pos[:min(2, len(pos))])
		}
	}
	words := make([]string, 0, len(lines))
	for w := range lines {
		words = append(words, w)
	}
	slices.Sort(words) // like beside like compresses best, and the reader searches by halves
	out, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(out, gzip.BestCompression)
	fmt.Fprintln(z, total)
	for _, w := range words {
		fmt.Fprintln(z, lines[w])
	}
	if err := z.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	log.Print(len(words), " words")
}
