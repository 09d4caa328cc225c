package rating

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// FuzzParseCard: no input makes the parser panic or accept a card that does not come back the same,
// that does not compile, or that closes an empty period with an error other than overflow.
func FuzzParseCard(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"currency":"USD","lines":[{"meter":"a","price":"1","per":3}]}`))
	f.Add([]byte("currency: USD\nlines: [{meter: a, price: 1e9, price: .nan}]"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("\x00"))
	files, _ := filepath.Glob("../../examples/cards/*.card.yaml")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		card, err := ParseCard(data)
		if err != nil {
			if problem.As(err).Kind == problem.Internal {
				t.Fatalf("not fit for the author: %v", err)
			}
			return
		}
		out, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseCard(out)
		if err != nil || !cmp.Equal(card, again) {
			t.Fatalf("%v %s", err, cmp.Diff(card, again))
		}
		c, err := Compile(card)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Closing(nil); err != nil && problem.As(err).ID != "rating.overflow" {
			t.Fatal(err)
		}
		_, _ = c.TokenBound(&Tokens{Input: 1 << 40, Output: 1 << 40, Requests: 1})
	})
}
