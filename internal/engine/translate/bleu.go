package translate

import (
	"math"
	"strings"
	"unicode"
)

// bleu is corpus BLEU with four orders and exponential smoothing (Papineni et al. 2002; Chen and Cherry 2014, method 3, as
// sacreBLEU has it), from 0 to 100.
func bleu(hypotheses, references [][]string) float64 {
	var hit, all [4]float64
	hypLen, refLen := 0, 0
	for i := range hypotheses {
		hypLen += len(hypotheses[i])
		refLen += len(references[i])
		for n := 1; n <= 4; n++ {
			have := grams(hypotheses[i], n)
			want := grams(references[i], n)
			for g, c := range have {
				hit[n-1] += float64(min(c, want[g]))
				all[n-1] += float64(c)
			}
		}
	}
	if hypLen == 0 || all[0] == 0 {
		return 0
	}
	sum, smooth := 0.0, 1.0
	for n := range hit {
		switch {
		case all[n] == 0:
			return 0
		case hit[n] == 0:
			smooth *= 2
			sum += math.Log(1 / (smooth * all[n]))
		default:
			sum += math.Log(hit[n] / all[n])
		}
	}
	brevity := 1.0
	if hypLen < refLen {
		brevity = math.Exp(1 - float64(refLen)/float64(hypLen))
	}
	return 100 * brevity * math.Exp(sum/4)
}

func grams(words []string, n int) map[string]int {
	m := map[string]int{}
	for i := 0; i+n <= len(words); i++ {
		m[strings.Join(words[i:i+n], "\x00")]++
	}
	return m
}

// bleuTokens splits a text as sacreBLEU's "zh" and "13a" do: a Chinese character is a token, so is punctuation.
func bleuTokens(text string) (tokens []string) {
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			tokens = append(tokens, b.String())
			b.Reset()
		}
	}
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			flush()
		case spaceless(r), unicode.IsPunct(r) && r != '\'' && r != '-', unicode.IsSymbol(r):
			flush()
			tokens = append(tokens, string(r))
		default:
			b.WriteRune(r)
		}
	}
	flush()
	return tokens
}
