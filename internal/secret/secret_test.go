package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestTextNeverPrints(t *testing.T) {
	const word = "hunter2-hunter2"
	type holder struct {
		Public Text
		hidden Text
	}
	h := holder{New(word), New(word)}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "t", h.Public, "h", h, "p", &h)
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]Text{"a": h.Public})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(j), string(y), fmt.Sprint(h, &h), h.Public.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, h), fmt.Sprintf(verb, &h), fmt.Sprintf(verb, h.hidden), fmt.Sprintf(verb, &h.Public))
	}
	hex := fmt.Sprintf("%x", word)
	for _, s := range shown {
		if strings.Contains(s, word) || strings.Contains(strings.ToLower(s), hex) {
			t.Errorf("shown: %s", s)
		}
	}
	if !strings.Contains(string(j), `"Public":"[redacted]"`) {
		t.Errorf("json: %s", j)
	}
	if h.Public.Reveal() != word {
		t.Error("reveal")
	}
}

func TestTextDecodes(t *testing.T) {
	var v struct{ K Text }
	if err := json.Unmarshal([]byte(`{"K":"abc"}`), &v); err != nil || v.K.Reveal() != "abc" {
		t.Fatalf("%v %q", err, v.K.Reveal())
	}
	if err := yaml.Unmarshal([]byte("k: xyz"), &v); err != nil || v.K.Reveal() != "xyz" {
		t.Fatalf("%v %q", err, v.K.Reveal())
	}
	if err := json.Unmarshal([]byte(`{"K":"[redacted]"}`), &v); err == nil {
		t.Fatal("the placeholder was taken for a secret")
	}
	var zero Text
	if !zero.IsZero() || zero.String() != "" || !zero.Equal(New("")) || zero.Equal(New("a")) || !New("a").Equal(New("a")) {
		t.Fatal("zero or equal")
	}
}

func ring(t *testing.T, keys ...Text) *Sealer {
	t.Helper()
	var text string
	for _, k := range keys {
		text += k.Reveal() + "\n"
	}
	s, err := Parse("# a comment\n\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealer(t *testing.T) {
	k1, k2 := Generate(), Generate()
	old, both, fresh := ring(t, k1), ring(t, k2, k1), ring(t, k2)
	sealed := old.Seal(New("sk-upstream"), "upstream up_1")
	if bytes.Contains(sealed, []byte("sk-upstream")) || bytes.Equal(sealed, old.Seal(New("sk-upstream"), "upstream up_1")) {
		t.Fatal("not sealed, or the same twice")
	}
	if got, err := both.Open(sealed, "upstream up_1"); err != nil || got.Reveal() != "sk-upstream" {
		t.Fatalf("%v %v", got.Reveal(), err)
	}
	if _, err := both.Open(sealed, "upstream up_2"); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("moved to another row: %v", err)
	}
	if _, err := fresh.Open(sealed, "upstream up_1"); !errors.Is(err, ErrKeyMissing) || !strings.Contains(err.Error(), old.KeyIDs()[0]) {
		t.Fatalf("without the key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := both.Open(bad, "upstream up_1"); err == nil {
			t.Fatalf("byte %d altered, opened", i)
		}
		if _, err := both.Open(sealed[:i], "upstream up_1"); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if old.Stale(sealed) || !both.Stale(sealed) || !both.Stale(nil) {
		t.Fatal("stale")
	}
	again, err := both.Reseal(sealed, "upstream up_1")
	if err != nil || both.Stale(again) {
		t.Fatal(err)
	}
	if got, err := fresh.Open(again, "upstream up_1"); err != nil || got.Reveal() != "sk-upstream" {
		t.Fatal(err)
	}
}

func TestParseRefuses(t *testing.T) {
	k := Generate().Reveal()
	for name, text := range map[string]string{
		"empty": "", "comment only": "# x\n", "short": k[:len(k)-3], "no prefix": k[len(linePrefix):], "twice": k + ";" + k,
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: taken", name)
		} else if len(text) > 20 && strings.Contains(err.Error(), text[len(linePrefix):20]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	if s, err := Parse(k + ";" + Generate().Reveal()); err != nil || len(s.KeyIDs()) != 2 {
		t.Errorf("semicolons: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sealer.key")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	var wg sync.WaitGroup
	sealers := make([]*Sealer, 8)
	made := make([]bool, len(sealers))
	for i := range sealers {
		wg.Go(func() {
			var err error
			if sealers[i], made[i], err = LoadOrCreate(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for i, s := range sealers {
		if made[i] {
			n++
		}
		if s.KeyIDs()[0] != sealers[0].KeyIDs()[0] {
			t.Fatal("two rings")
		}
	}
	if n != 1 {
		t.Fatalf("%d created it", n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}

	sealed := sealers[0].Seal(New("x"), "c")
	rotated, err := Rotate(path)
	if err != nil || len(rotated.KeyIDs()) != 2 || !rotated.Stale(sealed) {
		t.Fatalf("rotate: %v", err)
	}
	again, err := rotated.Reseal(sealed, "c")
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := Drop(path)
	if err != nil || len(dropped.KeyIDs()) != 1 {
		t.Fatalf("drop: %v", err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loaded.Open(again, "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := loaded.Open(sealed, "c"); !errors.Is(err, ErrKeyMissing) {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("readable by all: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyring-*"))
	if len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestReplaceAndKeyID(t *testing.T) {
	first, second := Generate().Reveal(), Generate().Reveal()
	s, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	old := s.Seal(New("x"), "here")
	if KeyID(old) != s.KeyIDs()[0] || KeyID(old[:KeyHead]) != KeyID(old) || KeyID(old[:KeyHead-1]) != "" || KeyID([]byte("no sealed value")) != "" {
		t.Error(KeyID(old))
	}
	next, err := Parse(second + "\n" + first)
	if err != nil {
		t.Fatal(err)
	}
	s.Replace(next)
	if got, err := s.Open(old, "here"); err != nil || got.Reveal() != "x" || !s.Stale(old) {
		t.Error(err)
	}
	if now := s.Seal(New("y"), "here"); KeyID(now) != next.KeyIDs()[0] || s.Stale(now) {
		t.Error("it seals with the old key")
	}
}
