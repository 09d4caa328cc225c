package translate

import (
	"cmp"
	"slices"
	"strings"
)

// wordMap is an immutable map from words to lists of numbers. It lies in five pieces of memory, where a Go map of slices
// would be hundreds of thousands of them and take four times the room.
type wordMap struct {
	words  string   // of all buckets, one after the other
	ends   []uint32 // of each word in words
	values []uint32 // of all words, in their order
	until  []uint32 // of each word, where its values end
	first  []uint32 // of each bucket its first word, and how many words there are
	shift  uint     // a bucket is what a hash has above it
}

// wordValue is a value of a word on its way into a wordMap.
type wordValue struct {
	word  string
	hash  uint32
	value uint32
}

func valueOf(word string, value uint32) wordValue { return wordValue{word, wordHash(word), value} }

// newWordMap sorts list. A word's values are in ascending order.
func newWordMap(list []wordValue) wordMap {
	slices.SortFunc(list, func(a, b wordValue) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.word, b.word), cmp.Compare(a.value, b.value))
	})
	same := func(i int) bool { return i > 0 && list[i].word == list[i-1].word }
	count, size := 0, 0
	for i, v := range list {
		if !same(i) {
			count, size = count+1, size+len(v.word)
		}
	}
	m := wordMap{shift: 32}
	for m.shift > 0 && 1<<(32-m.shift) < count {
		m.shift--
	}
	m.ends, m.until = make([]uint32, 0, count), make([]uint32, 0, count)
	m.values = make([]uint32, 0, len(list))
	m.first = make([]uint32, 1, 2+1<<(32-m.shift))
	var words strings.Builder
	words.Grow(size)
	for i, v := range list {
		m.values = append(m.values, v.value)
		if same(i) {
			m.until[len(m.until)-1]++
			continue
		}
		for uint64(len(m.first)) <= uint64(v.hash)>>m.shift {
			m.first = append(m.first, uint32(len(m.ends)))
		}
		words.WriteString(v.word)
		m.ends, m.until = append(m.ends, uint32(words.Len())), append(m.until, uint32(len(m.values)))
	}
	for len(m.first) < cap(m.first) {
		m.first = append(m.first, uint32(count))
	}
	m.words = words.String()
	return m
}

// get gives the values of a word.
func (m *wordMap) get(word string) []uint32 {
	bucket := uint64(wordHash(word)) >> m.shift
	for i := m.first[bucket]; i < m.first[bucket+1]; i++ {
		start, from := uint32(0), uint32(0)
		if i > 0 {
			start, from = m.ends[i-1], m.until[i-1]
		}
		if m.words[start:m.ends[i]] == word {
			return m.values[from:m.until[i]]
		}
	}
	return nil
}

// wordHash is FNV-1a, mixed so that its upper bits are good.
func wordHash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	h ^= h >> 15
	return h * 0x2c1b3c6d
}
