package sse

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func frames(t testing.TB, f *Framer, reads ...string) (events []string) {
	t.Helper()
	for _, r := range reads {
		b := []byte(r)
		for len(b) > 0 {
			e, n, _, err := f.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			if e != nil {
				events = append(events, string(e))
			}
			b = b[n:]
		}
	}
	return events
}

func TestFramer(t *testing.T) {
	tests := []struct {
		name    string
		reads   []string
		want    []string
		pending string
	}{
		{"LF", []string{"data: a\n\ndata: b\n\n"}, []string{"data: a\n\n", "data: b\n\n"}, ""},
		{"CRLF", []string{"data: a\r\n\r\ndata: b\r\n\r\n"}, []string{"data: a\r\n\r\n", "data: b\r\n\r\n"}, ""},
		{"CR", []string{"data: a\r\rdata: b\r\rx"}, []string{"data: a\r\r", "data: b\r\r"}, "x"},
		{"mixed", []string{"data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\rx"}, []string{"data: a\n\r\n", "data: b\r\n\n", "data: c\r\n\r", "data: d\n\r"}, "x"},
		{"split in data", []string{"da", "ta: a", "\n", "\ndata: b\n\n"}, []string{"data: a\n\n", "data: b\n\n"}, ""},
		{"split in CRLF", []string{"data: a\r\n\r", "\ndata: b\r", "\n\r\n"}, []string{"data: a\r\n\r\n", "data: b\r\n\r\n"}, ""},
		{"CR at the end waits", []string{"data: a\r\r"}, nil, "data: a\r\r"},
		{"empty lines", []string{"\n\n\r\ndata: a\n\n"}, []string{"\n", "\n", "\r\n", "data: a\n\n"}, ""},
		{"comment", []string{": hi\n\n"}, []string{": hi\n\n"}, ""},
		{"rest", []string{"data: a\n\ndata: b\n"}, []string{"data: a\n\n"}, "data: b\n"},
	}
	var f Framer
	for _, tt := range tests {
		f.Reset()
		if d := cmp.Diff(tt.want, frames(t, &f, tt.reads...)); d != "" || string(f.Pending()) != tt.pending {
			t.Errorf("%s: pending %q %s", tt.name, f.Pending(), d)
		}
	}
}

func TestFramerBounds(t *testing.T) {
	var f Framer
	big := bytes.Repeat([]byte("x"), MaxEvent/2+1)
	if _, _, _, err := f.Next(big); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := f.Next(big); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	f.Reset()
	if cap(f.carry) != 0 {
		t.Error("a large buffer is kept")
	}
}

func TestData(t *testing.T) {
	tests := []struct{ event, data, name string }{
		{"data: a\n\n", "a", ""},
		{"data:a\r\n\r\n", "a", ""},
		{"data:  a\n\n", " a", ""},
		{"\ufeffdata: a\n\n", "a", ""},
		{"event: error\nid: 5\nretry: 1\n: c\ndata: a\ndata\ndata:b\r\r", "a\n\nb", "error"},
		{": only a comment\n\n", "", ""},
		{"database: x\n\n", "", ""},
		{"data: a", "a", ""},
		{"\n", "", ""},
	}
	var scratch []byte
	for _, tt := range tests {
		var data, name []byte
		data, name, scratch = Data([]byte(tt.event), scratch)
		if string(data) != tt.data || string(name) != tt.name {
			t.Errorf("%q: %q %q", tt.event, data, name)
		}
	}
	if got := string(AppendHead(nil, []byte("event: e\r\n: c\r\ndata: a\r\nid: 1\r\n\r\n"))); got != "event: e\n: c\nid: 1\n" {
		t.Errorf("%q", got)
	}
	if got := string(AppendEvent(nil, []byte("a"))); got != "data: a\n\n" {
		t.Errorf("%q", got)
	}
}

// FuzzFramer holds that events do not depend on the reads, and that nothing is lost.
func FuzzFramer(f *testing.F) {
	f.Add("data: a\r\n\r\ndata: b\r\r\n\n: c\n\n", 3)
	f.Fuzz(func(t *testing.T, s string, step int) {
		var one, many Framer
		whole := frames(t, &one, s)
		var reads []string
		for step = max(1, step&15); len(s) > step; s = s[step:] {
			reads = append(reads, s[:step])
		}
		cut := frames(t, &many, append(reads, s)...)
		if d := cmp.Diff(whole, cut); d != "" || !bytes.Equal(one.Pending(), many.Pending()) {
			t.Fatalf("pending %q and %q %s", one.Pending(), many.Pending(), d)
		}
		if all := strings.Join(cut, "") + string(many.Pending()); all != strings.Join(reads, "")+s {
			t.Fatalf("lost: %q", all)
		}
	})
}
