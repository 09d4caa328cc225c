package translate

import (
	"context"
	"sort"
	"strings"
)

// Qualities, from what is worth least. A translation through another language has the lower of its two.
const (
	qualityDictionary = "dictionary" // words looked up one by one
	qualityRules      = "rules"      // grammar and lexicon
	qualityConversion = "conversion" // between spellings of one language
	qualityMemory     = "memory"     // a person's translation, kept
	qualityGlossary   = "glossary"   // nothing but terms of the owner's glossary
	qualityNone       = "unchanged"  // source and target are one language, or there is nothing to translate
)

// machine turns sentences of one language into another. There are two: the dictionary, and Apertium.
type machine interface {
	name() string
	// pairs lists what it can translate now.
	pairs() []pair
	// translate translates sentences. Each keeps the marks of its segment; what does not is mended by the caller.
	translate(ctx context.Context, p pair, in []input, h hints) ([]string, error)
	// honours reports whether a hint has an effect for the pair.
	honours(p pair, hint string) bool
}

// input is a sentence for a machine.
type input struct {
	seg  *segment
	text string
}

// hints are what the caller says beside the text.
type hints struct {
	context   string // text around the one that is translated
	formality string // "", more, less
}

// pair is one direction of one machine.
type pair struct {
	from, to string
	model    string
	quality  string
	m        machine
}

// route is how a text comes from one language to another: one pair or two.
type route []pair

func (r route) engine() string {
	names := make([]string, 0, 2)
	for _, p := range r {
		if n := p.m.name(); len(names) == 0 || names[len(names)-1] != n {
			names = append(names, n)
		}
	}
	return strings.Join(names, "+")
}

func (r route) model() string {
	names := make([]string, len(r))
	for i, p := range r {
		names[i] = p.model
	}
	return strings.Join(names, "+")
}

func (r route) quality() string {
	for _, p := range r {
		if p.quality == qualityDictionary {
			return qualityDictionary
		}
	}
	return r[0].quality
}

func (r route) via() string {
	if len(r) < 2 {
		return ""
	}
	return r[0].to
}

// pivots are languages to go through, the best first: those with the richest dictionaries.
var pivots = []string{"es", "en", "ca", "fr", "pt", "sh", "nb", "sv", "da", "zh", "eo"}

// routes plans how to translate. Pairs come and go as packages are installed.
type routes struct{ machines []machine }

func (rs routes) all(engine string) (all []pair) {
	for _, m := range rs.machines {
		if engine == "" || engine == m.name() {
			all = append(all, m.pairs()...)
		}
	}
	return all
}

// find plans from one language to another, by the engine of that name if one is named. nil: there is no way.
func (rs routes) find(from, to, engine string) route {
	return plan(rs.all(engine), from, to)
}

func plan(pairs []pair, from, to string) route {
	var first, second []pair
	for _, p := range pairs {
		if p.from == from {
			if p.to == to {
				return route{p}
			}
			first = append(first, p)
		}
		if p.to == to {
			second = append(second, p)
		}
	}
	for _, v := range pivots {
		for _, a := range first {
			for _, b := range second {
				if a.to == v && b.from == v {
					return route{a, b}
				}
			}
		}
	}
	return nil
}

// reachable lists every route, sorted by languages.
func (rs routes) reachable() []route {
	pairs := rs.all("")
	from, to := map[string]bool{}, map[string]bool{}
	for _, p := range pairs {
		from[p.from], to[p.to] = true, true
	}
	var all []route
	for _, f := range sorted(from) {
		for _, t := range sorted(to) {
			if f == t {
				continue
			}
			if r := plan(pairs, f, t); r != nil {
				all = append(all, r)
			}
		}
	}
	return all
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}
