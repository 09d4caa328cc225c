package translate

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func badTMX(cause error) error {
	return problem.New(problem.Unprocessable, "translate.bad_tmx", "the file is not a TMX translation memory, or is damaged").Because(cause)
}

// readTMX reads TMX 1.4 (LISA, 2005). Of a unit with several languages, its source language (srclang, or else the first
// variant) is paired with each other. Inline markup (bpt, ept, ph, it) is dropped with its content, text in hi and sub kept.
func readTMX(data []byte) ([]Unit, error) {
	if !utf8.Valid(data) {
		return nil, badTMX(errors.New("not UTF-8"))
	}
	x := xml.NewDecoder(bytes.NewReader(data))
	x.Strict = true
	var units []Unit
	var header, unitLang, lang, seen string
	var variants []Unit // SourceLang and Source of each variant
	var text strings.Builder
	inSeg, skip, depth := false, 0, 0
	for {
		tok, err := x.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, badTMX(err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth++; depth > 100 {
				return nil, badTMX(errors.New("nested too deeply"))
			}
			switch t.Name.Local {
			case "tmx":
				seen = "tmx"
			case "header":
				header = attr(t, "srclang")
			case "tu":
				variants, unitLang = nil, attr(t, "srclang")
			case "tuv":
				lang = attr(t, "lang")
			case "seg":
				inSeg, skip = true, 0
				text.Reset()
			case "bpt", "ept", "ph", "it", "ut":
				skip++
			}
		case xml.CharData:
			if inSeg && skip == 0 {
				text.Write(t)
			}
		case xml.EndElement:
			depth--
			switch t.Name.Local {
			case "bpt", "ept", "ph", "it", "ut":
				skip--
			case "seg":
				inSeg = false
				variants = append(variants, Unit{SourceLang: lang, Source: strings.TrimSpace(text.String())})
			case "tu":
				if unitLang == "" {
					unitLang = header
				}
				units = append(units, paired(variants, unitLang)...)
				if len(units) > maxUnits {
					return nil, problem.New(problem.TooLarge, "translate.memory_full", "a translation memory holds at most %d units; delete some first", maxUnits)
				}
			}
		}
	}
	if seen == "" {
		return nil, badTMX(errors.New("no tmx element"))
	}
	return units, nil
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

func paired(variants []Unit, source string) (units []Unit) {
	if len(variants) == 0 {
		return nil
	}
	from := variants[0]
	want, _ := normal(source)
	for _, v := range variants {
		if l, _ := normal(v.SourceLang); l == want && source != "" && !strings.EqualFold(source, "*all*") {
			from = v
			break
		}
	}
	for _, v := range variants {
		if v.SourceLang != from.SourceLang {
			units = append(units, Unit{from.Source, v.Source, from.SourceLang, v.SourceLang})
		}
	}
	return units
}

// readTSV reads lines of source TAB target, or of source language, target language, source, target. A first line of
// column names is passed over.
func readTSV(data []byte, source, target string) ([]Unit, error) {
	bad := func(line int) error {
		return problem.New(problem.Unprocessable, "translate.bad_tsv", "line %d must be source TAB target (with source and target given), or source language TAB target language TAB source TAB target", line)
	}
	if !utf8.Valid(data) {
		return nil, problem.New(problem.Unprocessable, "translate.not_utf8", "the text is not UTF-8; convert it first")
	}
	var units []Unit
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(line, "\t")
		for i := range f {
			f[i] = unescapeTSV.Replace(f[i])
		}
		switch {
		case n == 1 && strings.HasPrefix(strings.ToLower(f[0]), "source"):
		case len(f) == 4:
			units = append(units, Unit{f[2], f[3], f[0], f[1]})
		case len(f) == 2 && source != "" && target != "":
			units = append(units, Unit{f[0], f[1], source, target})
		default:
			return nil, bad(n)
		}
		if len(units) > maxUnits {
			return nil, problem.New(problem.TooLarge, "translate.memory_full", "a translation memory holds at most %d units; delete some first", maxUnits)
		}
	}
	return units, nil
}

// checkUnits normalises languages and refuses what cannot be kept. Units without text on either side are dropped.
func checkUnits(units []Unit) ([]Unit, error) {
	kept := units[:0]
	for _, u := range units {
		var err error
		if u.SourceLang, err = concrete("source", u.SourceLang); err != nil {
			return nil, err
		}
		if u.TargetLang, err = concrete("target", u.TargetLang); err != nil {
			return nil, err
		}
		u.Source, u.Target = strings.TrimSpace(u.Source), strings.TrimSpace(u.Target)
		if u.Source == "" || u.Target == "" {
			continue
		}
		if utf8.RuneCountInString(u.Source) > maxUnitRunes || utf8.RuneCountInString(u.Target) > maxUnitRunes || strings.ContainsRune(u.Source+u.Target, 0) {
			return nil, problem.New(problem.Unprocessable, "translate.bad_unit", "a unit's text has at most %d characters, none of them NUL", maxUnitRunes)
		}
		kept = append(kept, u)
	}
	if len(kept) > maxUnits {
		return nil, problem.New(problem.TooLarge, "translate.memory_full", "a translation memory holds at most %d units; delete some first", maxUnits)
	}
	return kept, nil
}

// unitFormat writes a translation memory.
type unitFormat struct {
	media, extension, head, tail string
	unit                         func(b *strings.Builder, u Unit)
}

var tmxWriter = unitFormat{
	media: "application/x-tmx+xml", extension: "tmx",
	head: `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<tmx version="1.4"><header creationtool="tollgate" creationtoolversion="1" segtype="sentence" o-tmf="tollgate" adminlang="en" srclang="*all*" datatype="plaintext"/><body>` + "\n",
	tail: "</body></tmx>\n",
	unit: func(b *strings.Builder, u Unit) {
		b.WriteString(`<tu srclang="` + u.SourceLang + `"><tuv xml:lang="` + u.SourceLang + `"><seg>` + escapeXML(u.Source) + `</seg></tuv><tuv xml:lang="` + u.TargetLang + `"><seg>` + escapeXML(u.Target) + "</seg></tuv></tu>\n")
	},
}

var tsvWriter = unitFormat{
	media: "text/tab-separated-values; charset=utf-8", extension: "tsv", head: "source\ttarget\tsource_text\ttarget_text\n",
	unit: func(b *strings.Builder, u Unit) {
		b.WriteString(u.SourceLang + "\t" + u.TargetLang + "\t" + escapeTSV.Replace(u.Source) + "\t" + escapeTSV.Replace(u.Target) + "\n")
	},
}

var (
	escapeTSV   = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
	unescapeTSV = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r")
)

// readTerms reads a glossary's entries as DeepL has them: tsv or csv.
func readTerms(data, format string) ([]Term, error) {
	var terms []Term
	bad := problem.New(problem.Invalid, "translate.bad_entries", "the entries must be lines of a source term and a target term, as tsv or csv")
	switch format {
	case "tsv", "":
		for line := range strings.Lines(data) {
			line = strings.TrimRight(line, "\r\n")
			if strings.TrimSpace(line) == "" {
				continue
			}
			s, t, ok := strings.Cut(line, "\t")
			if !ok || strings.Contains(t, "\t") {
				return nil, bad
			}
			terms = append(terms, Term{strings.TrimSpace(s), strings.TrimSpace(t)})
		}
	case "csv":
		c := csv.NewReader(strings.NewReader(data))
		c.FieldsPerRecord = -1
		rows, err := c.ReadAll()
		if err != nil {
			return nil, bad.Because(err)
		}
		for _, r := range rows {
			if len(r) < 2 {
				return nil, bad
			}
			terms = append(terms, Term{strings.TrimSpace(r[0]), strings.TrimSpace(r[1])})
		}
	default:
		return nil, bad
	}
	return terms, nil
}

func writeTerms(terms []Term) string {
	var b strings.Builder
	for _, t := range terms {
		b.WriteString(t.Source + "\t" + t.Target + "\n")
	}
	return b.String()
}
