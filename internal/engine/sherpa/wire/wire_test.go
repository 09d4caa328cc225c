package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child/childtest"
)

func request() *Request {
	return &Request{Model: Model{Type: "transducer", Streaming: true, Files: map[string]string{"encoder": "/a/encoder.onnx"}, Rate: 8000, Features: 23},
		Language: "zh", Translate: true, PCM: []int16{0, 1, -1, 32767, -32768}}
}

func answer() *Answer {
	return &Answer{Text: " 你好 world", Language: "zh", Tokens: []string{"你", "好", " world"}, Starts: []float32{0, 0.04, 0.5}, LogProbs: []float32{-0.1, -2, 0}}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	frame, err := request().Frame()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := child.ReadFrame(bytes.NewReader(frame), MaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseRequest(payload)
	if diff := cmp.Diff(request(), q); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, want := range []*Answer{answer(), {Refusal: "no"}, {}} {
		if frame, err = want.Frame(); err != nil {
			t.Fatal(err)
		}
		got, err := ParseAnswer(frame[4:])
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
}

// TestBounds: what is beyond them can neither be written nor read.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Request){
		"sound":       func(q *Request) { q.PCM = make([]int16, MaxSamples+1) },
		"files":       func(q *Request) { q.Model.Files = many(maxFiles + 1) },
		"path":        func(q *Request) { q.Model.Files["encoder"] = strings.Repeat("a", maxText+1) },
		"end in path": func(q *Request) { q.Model.Files["encoder"] = "a\x00b" },
		"type":        func(q *Request) { q.Model.Type = "a\x00" },
		"language":    func(q *Request) { q.Language = "\xff" },
		"rate":        func(q *Request) { q.Model.Rate = -1 },
		"features":    func(q *Request) { q.Model.Features = 1 << 20 },
	} {
		q := request()
		change(q)
		if _, err := q.Frame(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for name, a := range map[string]*Answer{
		"tokens": {Tokens: make([]string, MaxTokens+1)},
		"starts": {Tokens: []string{"a"}, Starts: []float32{1, 2}},
		"text":   {Text: strings.Repeat("a", MaxHead)},
	} {
		if _, err := a.Frame(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	long := &Answer{Refusal: strings.Repeat("é", maxRefusal)}
	if frame, err := long.Frame(); err != nil || len(frame) > maxRefusal+100 {
		t.Errorf("a long refusal: %v, %d bytes", err, len(frame))
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[strings.Repeat("a", i)] = "b"
	}
	return m
}

func payloads(f *testing.F) [][]byte {
	return childtest.Payloads(f, []string{"\x02\x00\x00\x00{}\x01", "\xff\xff\xff\x7f{}"}, request(), &Request{}, answer(), &Answer{Refusal: "no"})
}

func FuzzRequest(f *testing.F) { childtest.Fuzz(f, ParseRequest, nil, payloads(f)) }

func FuzzAnswer(f *testing.F) { childtest.Fuzz(f, ParseAnswer, nil, payloads(f)) }
