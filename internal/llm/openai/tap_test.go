package openai

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/llm"
)

// result is what a stream comes to.
type result struct {
	Out          string
	Usage        llm.Usage
	Text         string
	Bytes        int64
	Reasoning    int64
	Chunks       int64
	Done, Failed bool
}

// testTap is a Tap that writes the output tokens as the cost.
func testTap() *Tap {
	return &Tap{Cost: func(dst []byte, u *llm.Usage) []byte {
		return strconv.AppendInt(append(dst, "0.00"...), u.OutputTotal(), 10)
	}}
}

// run feeds stream in pieces that end at cuts.
func run(t testing.TB, tap *Tap, asked bool, stream string, cuts ...int) result {
	t.Helper()
	tap.Reset(asked, "USD")
	var out strings.Builder
	take := func(pieces [][]byte) {
		for _, p := range pieces {
			out.Write(p)
		}
	}
	last := 0
	for _, c := range append(cuts, len(stream)) {
		piece := []byte(stream[last:c])
		pieces, err := tap.Feed(piece)
		if err != nil {
			t.Fatal(err)
		}
		take(pieces)
		for i := range piece {
			piece[i] = '#' // what was read is gone by the next read
		}
		last = c
	}
	take(tap.End())
	d := tap.Delivered()
	return result{out.String(), *tap.Usage(), string(d.Text), d.Bytes, d.Reasoning, d.Chunks, tap.Done(), tap.Failed()}
}

func chunk(delta string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o","system_fingerprint":"fp_1","choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":null}]}` + "\n\n"
}

func TestTapWithholdsUsage(t *testing.T) {
	content := chunk(`{"role":"assistant","content":""}`) + chunk(`{"content":"Hel"}`) + chunk(`{"content":"lo"}`)
	usage := `data: {"id":"x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}` + "\n\n"
	done := "data: [DONE]\n\n"
	got := run(t, testTap(), false, content+usage+done)
	want := result{Out: content + done, Usage: llm.Usage{Input: 9, Output: 2, Found: true}, Text: "Hello", Bytes: 5, Chunks: 2, Done: true}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got = run(t, testTap(), true, content+usage+done)
	want.Out = content + strings.Replace(usage, `"usage":{`, `"usage":{"cost":0.002,"currency":"USD",`, 1) + done
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTapForwardsWhatWasRead(t *testing.T) {
	b := []byte(chunk(`{"content":"a"}`) + ": comment\n\n" + chunk(`{"content":"b"}`))
	tap := testTap()
	tap.Reset(false, "USD")
	out, err := tap.Feed(b)
	if err != nil || len(out) != 1 || &out[0][0] != &b[0] || len(out[0]) != len(b) {
		t.Errorf("copied or cut: %v %q", err, out)
	}
}

func TestTapError(t *testing.T) {
	before := chunk(`{"content":"a"}`)
	for _, e := range []string{
		`data: {"error":{"message":"rate limit of org-SECRET","type":"x","code":429}}` + "\n\n",
		`data: {"object":"error","message":"boom"}` + "\n\n",
		"event: error\ndata: {\"message\":\"boom\"}\n\n",
		`data: {"id":"1","error":{"code":"server_error"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}` + "\n\n",
	} {
		tap := testTap()
		got := run(t, tap, true, before+e+chunk(`{"content":"late"}`)+"data: [DONE]\n\n")
		if !got.Failed || got.Done || got.Out != before || got.Text != "a" || len(tap.Failure()) == 0 {
			t.Errorf("%s: %+v", e, got)
		}
	}
	if got := run(t, testTap(), true, `data: {"choices":[],"error":null}`+"\n\n"); got.Failed {
		t.Error("null is no error")
	}
}

func TestTapMissing(t *testing.T) {
	tap := testTap()
	tap.Missing = func(dst []byte) []byte { return append(dst, "data: {\"usage\":1}\n\n"...) }
	content := chunk(`{"content":"a"}`)
	got := run(t, tap, true, content+"data: [DONE]\n\n")
	if got.Out != content+"data: {\"usage\":1}\n\ndata: [DONE]\n\n" || !got.Done {
		t.Errorf("%q", got.Out)
	}
	if got := run(t, tap, false, content+"data: [DONE]\n\n"); strings.Contains(got.Out, "usage") {
		t.Errorf("not asked for: %q", got.Out)
	}
}

func TestTapTruncated(t *testing.T) {
	tap := testTap()
	tap.Reset(false, "USD")
	out, err := tap.Feed([]byte(chunk(`{"content":"whole"}`) + `data: {"choices":[{"index":0,"delta":{"content":"par`))
	if err != nil || tap.Done() || string(bytes.Join(out, nil)) != chunk(`{"content":"whole"}`) {
		t.Errorf("%q %v", out, err)
	}
	if d := tap.Delivered(); string(d.Text) != "whole" || d.Chunks != 1 {
		t.Errorf("%+v", d)
	}
}

// TestTapUselessUsage: a report that does not cover what was delivered is none.
func TestTapUselessUsage(t *testing.T) {
	report := func(completion int) string {
		return fmt.Sprintf(`data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}`+"\n\n", completion)
	}
	text := chunk(`{"content":"text"}`)
	for stream, found := range map[string]bool{
		report(0):                    true, // an input without output so far
		report(0) + text:             false,
		text + report(0):             false,
		text + report(1):             true,
		text + report(1) + text:      false,
		report(0) + text + report(1): true,
	} {
		if got := run(t, testTap(), false, stream+"data: [DONE]\n\n"); got.Usage.Found != found {
			t.Errorf("%s: %+v", stream, got.Usage)
		}
	}
}

func TestTapOver(t *testing.T) {
	feed := func(tap *Tap, text string, chunks int) {
		tap.Reset(false, "USD")
		for range chunks {
			if _, err := tap.Feed([]byte(chunk(`{"content":"` + text + `"}`))); err != nil {
				t.Fatal(err)
			}
		}
	}
	tap := testTap()
	counted := 0
	count := func(d *llm.Delivered) int64 { counted++; return d.Bytes / 4 }
	tests := []struct {
		name        string
		text        string
		chunks      int
		count, over bool
	}{
		{"a token a chunk, at the limit", " word", 100, true, false},
		{"a token a chunk, far over", " word", 250, false, true},
		{"short text", "x", 100, true, false},
		{"long tokens, one a chunk", strings.Repeat("=", 32), 100, false, false},
		{"paragraphs, cheap", strings.Repeat("word ", 100), 2, false, false},
		{"paragraphs, counted", strings.Repeat("word ", 100), 2, true, true},
	}
	for _, tt := range tests {
		if tap.Count = nil; tt.count {
			tap.Count = count
		}
		feed(tap, tt.text, tt.chunks)
		if got := tap.Over(100); got != tt.over {
			t.Errorf("%s: %v %+v", tt.name, got, tap.Delivered())
		}
	}
	feed(tap, strings.Repeat("a", 500), 1)
	tap.Over(100)
	counted = 0
	for range 10 {
		tap.Over(100)
	}
	if counted != 0 {
		t.Errorf("counted %d times without new text", counted)
	}
	tap.Reset(false, "USD")
	if _, err := tap.Feed([]byte(`data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":101}}` + "\n\n")); err != nil || !tap.Over(100) || tap.Over(101) || tap.Output() != 101 {
		t.Errorf("the upstream's own figure is not used: %v %d", err, tap.Output())
	}
}

func BenchmarkTap(b *testing.B) {
	var whole []byte
	var reads [][]byte
	for i := range 50 {
		c := chunk(fmt.Sprintf(`{"content":" w%d"}`, i))
		reads = append(reads, []byte(c))
		whole = append(whole, c...)
	}
	tail := `data: {"id":"x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":50,"total_tokens":59,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}` + "\n\ndata: [DONE]\n\n"
	reads = append(reads, []byte(tail))
	whole = append(whole, tail...)
	var halves [][]byte
	for i := 0; i < len(whole); i += 150 {
		halves = append(halves, whole[i:min(i+150, len(whole))])
	}
	nulls := [][]byte{}
	for _, r := range reads {
		nulls = append(nulls, bytes.Replace(r, []byte(`]}`+"\n"), []byte(`],"usage":null}`+"\n"), 1))
	}
	for _, c := range []struct {
		name  string
		reads [][]byte
	}{{"chunk", reads}, {"whole", [][]byte{whole}}, {"split", halves}, {"usage-null", nulls}} {
		b.Run(c.name, func(b *testing.B) {
			tap := testTap()
			b.ReportAllocs()
			for b.Loop() {
				tap.Reset(false, "USD")
				for _, r := range c.reads {
					if _, err := tap.Feed(r); err != nil {
						b.Fatal(err)
					}
				}
				if !tap.Done() || !tap.Usage().Found {
					b.Fatal("not done")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/52, "ns/event")
		})
	}
}
