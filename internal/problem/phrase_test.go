package problem

import (
	"strings"
	"testing"
	"time"
)

func TestPhrases(t *testing.T) {
	for _, c := range []struct{ room, in, want string }{
		{"", "is missing", "缺失"},
		{"", "must be from 0.25 to 4", "必须在 0.25 到 4 之间"},
		{"", "must be pcm16, mulaw, alaw or float32", "必须是 pcm16、mulaw、alaw 或 float32"},
		{"", `must be a language code such as "en" or "zh"`, `必须是语言代码，例如 "en" 或 "zh"`},
		{"", "must be one of person, place", "必须是以下之一：person, place"},
		{"", "must be at most 50", "最多为 50"},
		{"", "must be at most 50 bytes", "最多 50 字节"},
		{"", "must be at most 50.00 USD", "最多为 50.00 USD"},
		{"engine", "translation from Norwegian Bokmål to Korean", "从书面挪威语到韩语的翻译"},
		{"engine", "translation from xx to Korean", "从xx到韩语的翻译"},
		{"", "2 mistaken: en taken for de (1), da taken for nb (1)", "误判 2 个：en 误判为 de（1）、da 误判为 nb（1）"},
		{"", "Demo grade. A pause is found after 500 ms of silence.", "演示级。静音 500 毫秒后判定为停顿。"},
		{"", "Demo grade. Something else.", "Demo grade. Something else."},
		{"rating", "must be a list, not nothing", "必须是列表，而不是空值"},
		{"quota", "key", "此密钥"},
		{"engine", "key", "key"}, // a single word belongs to its room
		{"", "", ""},
		{"", "#", "#"},
		{"", "must be from a to b", "must be from a to b"},
		{"", strings.Repeat("is missing. ", 1000), strings.Repeat("is missing. ", 1000)},
	} {
		if got := translate(c.room, c.in); got != c.want {
			t.Errorf("%s|%.100s: got %.100s, want %.100s", c.room, c.in, got, c.want)
		}
	}
	if got := Phrase("en", "is missing"); got != "is missing" {
		t.Errorf("English became %s", got)
	}
}

func TestPhrasesInMessages(t *testing.T) {
	e := New(Invalid, "engine.invalid", "%q: %s", "is missing", "must be from 1 to 9").WithField("is missing", "must be from 1 to 9")
	if got, want := e.Text("zh"), `"is missing"：必须在 1 到 9 之间`; got != want {
		t.Errorf("got %s, want %s: what is quoted is the caller's", got, want)
	}
	if got := e.FieldsIn("zh"); len(got) != 1 || got[0].Path != "is missing" || got[0].Detail != "必须在 1 到 9 之间" {
		t.Errorf("fields: %+v", got)
	}
	if e.Fields[0].Detail != "must be from 1 to 9" || e.Detail != `"is missing": must be from 1 to 9` || e.args[1] != "must be from 1 to 9" {
		t.Errorf("the error has changed: %+v", e)
	}
	if got := e.FieldsIn("en"); &got[0] != &e.Fields[0] {
		t.Error("English copies")
	}
	limit := New(TooMany, "quota.requests", "limit of %d requests in %d s reached for this %s; try again in %d s", 5, 60, "key", 7)
	if got, want := limit.Text("zh"), "已达到限额：每 60 秒最多 5 次请求（此密钥），请在 7 秒后重试"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	outer := New(Unprocessable, "api.invalid", "the request is not valid: see errors").Within("plans[0]", limit.After(time.Second))
	if got := outer.FieldsIn("zh")[0].Detail; got != limit.Text("zh") || outer.Fields[0].Detail != limit.Detail {
		t.Errorf("a field that an error describes: %s", got)
	}
}

// TestPhraseTable: what a phrase leaves open, its Chinese has too.
func TestPhraseTable(t *testing.T) {
	holes := func(s string) map[string]int {
		n := map[string]int{}
		for {
			at, hole := nextHole(s)
			if hole == "" {
				return n
			}
			n[hole]++
			s = s[at+len(hole):]
		}
	}
	for en, zh := range table().exact {
		want, got := holes(en), holes(zh)
		for _, h := range []string{"#", "*", quoted} {
			if want[h] != got[h] {
				t.Errorf("%q has %d of %s, its Chinese %d: %q", en, want[h], h, got[h], zh)
			}
		}
		if zh == "" || strings.TrimSpace(zh) != zh {
			t.Errorf("%q: %q", en, zh)
		}
	}
}

func FuzzPhrase(f *testing.F) {
	for en := range table().exact {
		f.Add(en)
	}
	f.Add(`must be one of "`)
	f.Add("2 mistaken: en taken for de (1), da taken for nb (1). is missing")
	f.Fuzz(func(t *testing.T, s string) {
		if zh := Phrase("zh", s); zh == "" && s != "" {
			t.Errorf("%q vanished", s)
		}
	})
}

func BenchmarkTextChinese(b *testing.B) {
	e := New(Invalid, "engine.invalid", "%q: %s", "sentences", "must be from 1 to 200")
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Text("zh")
	}
}

func BenchmarkTextEnglish(b *testing.B) {
	e := New(Invalid, "engine.invalid", "%q: %s", "sentences", "must be from 1 to 200")
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Text("en")
	}
}
