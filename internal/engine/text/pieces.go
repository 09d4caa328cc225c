package text

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// pieces is a SentencePiece unigram vocabulary, applied as the sentence encoder's own tokenizer does (TensorFlow.js
// universal-sentence-encoder, Apache-2.0): NFKC, "▁" for spaces, Viterbi over the pieces' log probabilities.
type pieces struct {
	ids    map[string]int32
	scores []float64
	runes  []int // length of each piece
	most   int
}

const (
	reserved  = 6 // ids of control symbols, which no text has
	separator = "▁"
	unknown   = 0
)

func readPieces(data []byte) (*pieces, error) {
	var list [][2]any
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if len(list) <= reserved || len(list) > 1<<20 {
		return nil, errors.New("a vocabulary of the wrong size")
	}
	p := &pieces{ids: make(map[string]int32, len(list)), scores: make([]float64, len(list)), runes: make([]int, len(list))}
	for i, e := range list {
		word, ok := e[0].(string)
		score, fine := e[1].(float64) // null counts as 0, as in the original
		if !ok || !fine && e[1] != nil {
			return nil, errors.New("a vocabulary entry is no pair of a text and a number")
		}
		p.scores[i], p.runes[i] = score, len([]rune(word))
		if i >= reserved && word != "" {
			p.ids[word] = int32(i)
			p.most = max(p.most, p.runes[i])
		}
	}
	p.runes[unknown] = 1
	return p, nil
}

// encode gives the ids of s, and which share of its letters and digits the vocabulary knows.
func (p *pieces) encode(s string) (ids []int32, known float64) {
	s = norm.NFKC.String(s)
	if s == "" {
		return nil, 0
	}
	rs := []rune(separator + strings.ReplaceAll(s, " ", separator))
	best := make([]float64, len(rs)+1)
	last := make([]int32, len(rs)+1)
	for i := range rs {
		any := false
		for n := 1; n <= p.most && i+n <= len(rs); n++ {
			id, ok := p.ids[string(rs[i:i+n])]
			if !ok {
				continue
			}
			any = true
			p.offer(best, last, i, i+n, id, p.scores[id])
		}
		if !any {
			p.offer(best, last, i, i+1, unknown, 0)
		}
	}
	lost, letters := 0, 0
	for at := len(rs); at > 0; {
		id := last[at]
		n := p.runes[id]
		if id == unknown && letter(rs[at-1]) {
			lost++
		}
		if id != unknown || len(ids) == 0 || ids[len(ids)-1] != unknown {
			ids = append(ids, id)
		}
		at -= n
	}
	for i, j := 0, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
	}
	for _, r := range rs {
		if letter(r) {
			letters++
		}
	}
	if letters == 0 {
		return ids, 0
	}
	return ids, 1 - float64(lost)/float64(letters)
}

// offer takes a piece as the end of the best way to a place. A sum of 0 counts as none yet, and of equals the later
// wins, as the original has it.
func (p *pieces) offer(best []float64, last []int32, from, to int, id int32, score float64) {
	if sum := best[from] + score; best[to] == 0 || sum >= best[to] {
		best[to], last[to] = sum, id
	}
}

func letter(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
