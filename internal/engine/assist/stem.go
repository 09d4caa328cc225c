package assist

import "strings"

// stem takes the endings off an English word by Porter's algorithm ("An algorithm for suffix stripping", 1980), so that "charge",
// "charged" and "charging", or "install" and "installation", are one term. The word is in lower case; what is not made of the
// letters a to z stays as it is.
func stem(w string) string {
	if len(w) < 3 || strings.ContainsFunc(w, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return w
	}
	w = plural(w)
	w = past(w)
	if n := len(w) - 1; w[n] == 'y' && vowelled(w[:n]) {
		w = w[:n] + "i"
	}
	w = swap(w, 0, "ational ate tional tion enci ence anci ance izer ize bli ble alli al entli ent eli e ousli ous ization ize isation ize ation ate "+
		"ator ate alism al iveness ive fulness ful ousness ous aliti al iviti ive biliti ble logi log")
	w = swap(w, 0, "icate ic ative - alize al iciti ic ical ic ful - ness -")
	w = strip(w)
	if n := len(w) - 1; w[n] == 'e' {
		if m := measure(w[:n]); m > 1 || m == 1 && !short(w[:n]) {
			w = w[:n]
		}
	}
	if strings.HasSuffix(w, "ll") && measure(w) > 1 {
		w = w[:len(w)-1]
	}
	return w
}

// vowel reports whether w[i] is one; y is one behind a consonant.
func vowel(w string, i int) bool {
	switch w[i] {
	case 'a', 'e', 'i', 'o', 'u':
		return true
	case 'y':
		return i > 0 && !vowel(w, i-1)
	}
	return false
}

func vowelled(w string) bool {
	for i := range len(w) {
		if vowel(w, i) {
			return true
		}
	}
	return false
}

// measure counts the sequences of vowels that are followed by consonants.
func measure(w string) (m int) {
	for i := 1; i < len(w); i++ {
		if !vowel(w, i) && vowel(w, i-1) {
			m++
		}
	}
	return m
}

// short reports whether w ends in consonant, vowel, consonant, the last not w, x or y: "hop", not "snow".
func short(w string) bool {
	n := len(w) - 1
	return n >= 2 && !vowel(w, n) && vowel(w, n-1) && !vowel(w, n-2) && !strings.ContainsRune("wxy", rune(w[n]))
}

func plural(w string) string {
	n := len(w)
	switch {
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "ies"):
		return w[:n-2]
	case strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		return w[:n-1]
	}
	return w
}

func past(w string) string {
	if s, ok := strings.CutSuffix(w, "eed"); ok {
		if measure(s) > 0 {
			return s + "ee"
		}
		return w
	}
	s, ok := strings.CutSuffix(w, "ed")
	if !ok {
		s, ok = strings.CutSuffix(w, "ing")
	}
	if !ok || !vowelled(s) {
		return w
	}
	n := len(s)
	switch {
	case strings.HasSuffix(s, "at"), strings.HasSuffix(s, "bl"), strings.HasSuffix(s, "iz"):
		return s + "e"
	case n > 1 && s[n-1] == s[n-2] && !vowel(s, n-1) && !strings.ContainsRune("lsz", rune(s[n-1])):
		return s[:n-1]
	case measure(s) == 1 && short(s):
		return s + "e"
	}
	return s
}

// swap replaces the first of the endings that fits where the rest has a measure above least; "-" is nothing.
func swap(w string, least int, pairs string) string {
	f := strings.Fields(pairs)
	for i := 0; i < len(f); i += 2 {
		if s, ok := strings.CutSuffix(w, f[i]); ok {
			if measure(s) > least {
				return s + strings.TrimPrefix(f[i+1], "-")
			}
			return w
		}
	}
	return w
}

func strip(w string) string {
	for _, end := range strings.Fields("ement ance ence able ible ment ant ent ism ate iti ous ive ize al er ic ou ion") {
		if s, ok := strings.CutSuffix(w, end); ok {
			if measure(s) > 1 && (end != "ion" || strings.HasSuffix(s, "s") || strings.HasSuffix(s, "t")) {
				return s
			}
			return w
		}
	}
	return w
}
