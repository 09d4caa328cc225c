package translate

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A wordMap has what was put into it, each word's values in ascending order, and nothing else.
func TestWordMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string][]uint32{}
		var list []wordValue
		words := rapid.SliceOfN(rapid.StringN(0, 3, -1), 0, 200).Draw(t, "words")
		for i, w := range words {
			want[w] = append(want[w], uint32(i))
			list = append(list, valueOf(w, uint32(i)))
		}
		slices.Reverse(list)
		m := newWordMap(list)
		for _, w := range append(words, "", "absent", rapid.String().Draw(t, "another")) {
			if got := m.get(w); !slices.Equal(got, want[w]) {
				t.Fatalf("%q: %v, want %v", w, got, want[w])
			}
		}
	})
}
