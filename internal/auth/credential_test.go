package auth

import (
	"bytes"
	"regexp"
	"testing"
)

var shape = regexp.MustCompile(`^sk-tg-(inf|mgt)-[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`)

func TestGeneratedKeys(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		for _, kind := range []Kind{Inference, Management} {
			k := generate("sk-tg-" + string(kind) + "-").Reveal()
			if !shape.MatchString(k) || seen[k] {
				t.Fatal(k)
			}
			seen[k] = true
			if got, ok := ParseKey([]byte(k)); !ok || got != kind {
				t.Fatal(got, ok)
			}
		}
	}
}

// TestChecksumIsFixed pins the form: scanners and other tools depend on it.
func TestChecksumIsFixed(t *testing.T) {
	for random, want := range map[string]string{
		"0000000000000000000000000000000000000000000": "2CZclj",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ": "4FLuWK",
	} {
		got := checksum([]byte(random))
		if string(got[:]) != want {
			t.Errorf("%s: %s, want %s", random, got, want)
		}
	}
}

func TestMistypedKeys(t *testing.T) {
	k := []byte(generate("sk-tg-inf-").Reveal())
	for i := range k {
		bad := bytes.Clone(k)
		bad[i] = '0'
		if bad[i] == k[i] {
			bad[i] = '1'
		}
		if _, ok := ParseKey(bad); ok {
			t.Errorf("accepted with byte %d changed", i)
		}
		if _, ok := ParseKey(k[:i]); ok {
			t.Errorf("accepted cut at %d", i)
		}
	}
	if _, ok := ParseKey(append(bytes.Clone(k), '0')); ok {
		t.Error("accepted too long")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("sk-tg-inf-" + string(bytes.Repeat([]byte("0"), 49))))
	f.Add([]byte(generate("sk-tg-mgt-").Reveal()))
	f.Add([]byte("tgboot-"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, ok := ParseKey(b)
		if !ok {
			if kind != "" {
				t.Fatal("a kind for no key")
			}
			return
		}
		m := shape.FindSubmatch(b)
		if m == nil || string(m[1]) != string(kind) {
			t.Fatalf("%q taken as %s", b, kind)
		}
		check := checksum(b[prefixLen : prefixLen+randomLen])
		if !bytes.Equal(check[:], b[prefixLen+randomLen:]) {
			t.Fatalf("%q: wrong checksum taken", b)
		}
	})
}
