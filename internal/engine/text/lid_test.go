package text

import (
	"math"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

// enginesDir is the engines directory of the tests.
func enginesDir(t testing.TB) engine.Dir {
	t.Helper()
	return enginetest.Dir(t, "the text engine", lidFile...)
}

// TestIdentifierModel compares with what the model's own program (fasttext.wasm.js) answers.
func TestIdentifierModel(t *testing.T) {
	id := NewIdentifier(enginesDir(t))
	for _, c := range []struct {
		text, lang string
		p          float64
	}{
		{"Hello world", "en", 0.16826},
		{"hola amigo", "es", 0.64667},
		{"Are you ready?", "en", 0.12450},
		{"Wo ist der Bahnhof?", "de", 0.99953},
		{"Où est la gare ?", "fr", 0.97603},
		{"Где находится вокзал?", "ru", 0.99501},
	} {
		g := id.load().predict(c.text, 1e-4)[0]
		if g.label != c.lang || math.Abs(g.p-c.p) > 2e-3 {
			t.Errorf("%q: %s %.5f, want %s %.5f", c.text, g.label, g.p, c.lang, c.p)
		}
		if lang, p := id.Identify(c.text); lang != c.lang || p <= 0 || p > 1 {
			t.Errorf("%q: %s %.5f, want %s", c.text, lang, p, c.lang)
		}
	}
	if name, model := id.Engine(); name != "fasttext" || model != "lid.176" {
		t.Errorf("engine %s %s", name, model)
	}
}

// TestIdentifierAlone is what Go alone can do.
func TestIdentifierAlone(t *testing.T) {
	id := NewIdentifier("")
	for _, c := range []struct{ text, lang string }{
		{"Where is my parcel?", "en"},
		{"Wo ist der Bahnhof?", "de"},
		{"今天天气很好", "zh"},
		{"東京に行きます", "ja"},
		{"안녕하세요", "ko"},
		{"I WANT MY MONEY BACK", "en"},
		{"12345 !!", Undetermined},
		{"", Undetermined},
		{"please look at https://example.com/le/la/les", "en"},
	} {
		if lang, p := id.Identify(c.text); lang != c.lang || p < 0 || p > 1 {
			t.Errorf("%q: %s %.3f, want %s", c.text, lang, p, c.lang)
		}
	}
	if name, _ := id.Engine(); name != "profiles" {
		t.Errorf("engine %s", name)
	}
}
