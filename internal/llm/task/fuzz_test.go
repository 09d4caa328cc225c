package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// FuzzDecode: whatever callers and upstreams send, there is an answer that names engine and model, or a *problem.Error;
// and a call that can be asked can be asked again with the same words.
func FuzzDecode(f *testing.F) {
	names := slices.Sorted(maps.Keys(operations()))
	for _, g := range golden {
		op := slices.Index(names, g.op)
		body := []byte(strings.ReplaceAll(g.body, "IMAGE", samplePNG(f)))
		f.Add(uint8(op), uint8(0), body, completion(g.chat))
		f.Add(uint8(op), uint8(1), body, g.infer)
	}
	f.Add(uint8(slices.Index(names, "translate.plain")), uint8(2), []byte(`{"text":"a","sourceLanguage":"en","targetLanguage":"fr"}`), []byte(`{"translation":"b"}`))
	f.Fuzz(func(t *testing.T, op, protocol uint8, body, answer []byte) {
		p := []Protocol{Chat, KServe, Flask}[protocol%3]
		c := &Call{Operation: names[int(op)%len(names)], Body: body, Model: "m"}
		_, first, err := Encode(p, c)
		_, second, _ := Encode(p, c)
		if err == nil && (!json.Valid(first) || !bytes.Equal(first, second)) {
			t.Fatalf("asked %s and %s", first, second)
		}
		got, _, decodeErr := Decode(p, c, answer)
		for _, err := range []error{err, decodeErr} {
			var known *problem.Error
			if err != nil && !errors.As(err, &known) {
				t.Fatalf("%T: %v", err, err)
			}
		}
		var a struct{ Engine, Model string }
		if decodeErr == nil && (json.Unmarshal(got, &a) != nil || a.Engine != "upstream" || a.Model != "m") {
			t.Fatalf("%s: %s", c.Operation, got)
		}
	})
}

// FuzzForm: forms are callers' input.
func FuzzForm(f *testing.F) {
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nabc\r\n--x\r\nContent-Disposition: form-data; name=\"top\"\r\n\r\n3\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if out, err := formJSON(kind, body); err == nil && !json.Valid(out) {
			t.Fatalf("%s", out)
		}
	})
}

func BenchmarkEncodeChat(b *testing.B) {
	c := &Call{Operation: "translate.text", Model: "m", Body: marshal(map[string]any{"text": strings.Repeat("A sentence to be translated. ", 40), "target": "fr"})}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Encode(Chat, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeChat(b *testing.B) {
	c := &Call{Operation: "translate.text", Model: "m", Body: marshal(map[string]any{"text": strings.Repeat("A sentence to be translated. ", 40), "target": "fr"})}
	answer := completion(string(marshal(map[string]any{"translations": []string{strings.Repeat("Une phrase à traduire. ", 40)}})))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decode(Chat, c, answer); err != nil {
			b.Fatal(err)
		}
	}
}
