//go:build ignore

// Command make writes cedict.gz from CC-CEDICT's text and the word frequencies of gse's dictionaries:
//
//	go run make.go CEDICT_TS.U8 GSE_DICT_DIR cedict.gz
//
// It keeps of CC-CEDICT (CC BY-SA 4.0) what translation needs: both spellings, classifiers, the reading of
// single characters and names, and the English glosses. One line an entry:
//
//	simplified TAB traditional or "" TAB frequency TAB part of speech TAB classifier TAB reading TAB gloss/gloss/…
package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

type word struct {
	freq int
	pos  string
}

var (
	line       = regexp.MustCompile(`^(\S+) (\S+) \[([^\]]*)\] /(.*)/\s*$`)
	reading    = regexp.MustCompile(`\[[A-Za-z0-9:· ,]*\]`)
	classifier = regexp.MustCompile(`^CL:([^,\[]+)`)
	// of glosses that tell of a word and do not translate it
	about = regexp.MustCompile(`^(variant of|old variant of|erhua variant|archaic variant|Japanese variant|see |see also|also written|also pr\.|Taiwan pr\.|used in |same as |abbr\. (for|to) |equivalent of:|pr\. )`)
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: make CEDICT_TS.U8 GSE_DICT_DIR OUT")
	}
	words := frequencies(os.Args[2])
	in, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(in); s.Scan(); {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			if l := entry(m, words); l != "" {
				lines = append(lines, l)
			}
		}
	}
	sort.Strings(lines) // like beside like compresses best
	out, err := os.Create(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(out, gzip.BestCompression)
	for _, l := range lines {
		fmt.Fprintln(z, l)
	}
	if err := z.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	log.Print(len(lines), " entries")
}

func entry(m []string, words map[string]word) string {
	trad, simp, sound := m[1], m[2], m[3]
	var glosses []string
	measure := ""
	for _, g := range strings.Split(m[4], "/") {
		if c := classifier.FindStringSubmatch(g); c != nil {
			measure = c[1]
			if _, s, ok := strings.Cut(measure, "|"); ok {
				measure = s
			}
			continue
		}
		g = strings.Join(strings.Fields(reading.ReplaceAllString(g, "")), " ")
		if g == "" || about.MatchString(g) {
			continue
		}
		for _, part := range strings.Split(g, ";") {
			if part = strings.TrimSpace(part); part != "" {
				glosses = append(glosses, part)
			}
		}
	}
	if len(glosses) == 0 {
		return ""
	}
	w := words[simp]
	if w.freq == 0 {
		w = words[trad]
	}
	if trad == simp {
		trad = ""
	}
	name := sound != "" && sound[0] >= 'A' && sound[0] <= 'Z'
	if utf8.RuneCountInString(simp) > 1 && !name {
		sound = ""
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s\t%s", simp, trad, w.freq, w.pos, measure, sound, strings.Join(glosses, "/"))
}

func frequencies(dir string) map[string]word {
	all := map[string]word{}
	for _, name := range []string{"s_1.txt", "t_1.txt"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			log.Fatal(err)
		}
		for l := range strings.Lines(string(data)) {
			var w string
			var f int
			var pos string
			if n, _ := fmt.Sscan(l, &w, &f, &pos); n >= 2 && f > all[w].freq {
				all[w] = word{f, pos}
			}
		}
	}
	return all
}
