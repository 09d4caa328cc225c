package scan

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValueFaults(t *testing.T) {
	tests := []struct {
		in    string
		at    int
		fault Fault
	}{
		{`{"a":[1,2.5e-3,"x\n",true,null]}`, 32, OK},
		{`12 `, 2, OK},
		{``, 0, End}, {`[`, 1, End}, {`[1`, 2, End}, {`{"a"`, 4, End}, {`"abc`, 4, End}, {`"\`, 2, End}, {`"\u12`, 5, End},
		{`[1 2]`, 3, Syntax}, {`{1:2}`, 1, Syntax}, {`{"a" 1}`, 5, Syntax}, {`[1}`, 2, Syntax}, {`[,]`, 1, Syntax}, {`[1,]`, 3, Syntax}, {`}`, 0, Syntax},
		{"\"a\x01\"", 2, Control}, {"\"abcdefghi\tj\"", 10, Control},
		{`"\q"`, 2, Escape}, {`"\u12g4"`, 5, Escape},
		{`-`, 1, Number}, {`1.`, 2, Number}, {`1e`, 2, Number}, {`1e+`, 3, Number},
		{`tru`, 0, Literal}, {`nul`, 0, Literal}, {`fALSE`, 0, Literal},
		{strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), 2 * MaxDepth, OK},
		{strings.Repeat("[", MaxDepth+1), MaxDepth, Depth},
	}
	for _, tt := range tests {
		if at, f := Value([]byte(tt.in), 0, 0); at != tt.at || f != tt.fault {
			t.Errorf("%.40q: %v at %d, want %v at %d", tt.in, f, at, tt.fault, tt.at)
		}
	}
}

func TestObjectIsLenientButBounded(t *testing.T) {
	keys := func(s string) string {
		out := ""
		for o := Open([]byte(s), 0); o.Next(); {
			out += string(o.Key) + "=" + s[o.Start:o.End] + ";"
		}
		return out
	}
	for in, want := range map[string]string{
		`{"a":1,"b" : {"c":[1]} , "d":"x}"}`: `a=1;b={"c":[1]};d="x}";`,
		`[1,"a",{}]`:                         `=1;="a";={};`,
		`{}`:                                 ``,
		`{"a"`:                               ``,
		`{"a":`:                              ``,
		`{"a":1,"b":[1`:                      `a=1;`,
		`{"a":"\\","b":"\""}`:                `a="\\";b="\"";`,
		`5`:                                  ``,
		``:                                   ``,
	} {
		if got := keys(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if s, e, ok := Member([]byte(`{"x":1,"y":2}`), 0, "y"); !ok || s != 11 || e != 12 {
		t.Error(s, e, ok)
	}
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-7": -7, "123456789012345678": 123456789012345678} {
		if n, ok := Int([]byte(in)); !ok || n != want {
			t.Errorf("%s: %d %v", in, n, ok)
		}
	}
	for _, in := range []string{"", "-", "1.0", "1e3", "x", "9999999999999999999"} {
		if n, ok := Int([]byte(in)); ok {
			t.Errorf("%s: %d", in, n)
		}
	}
}

// FuzzValue holds Value, Unquote and AppendString against encoding/json.
func FuzzValue(f *testing.F) {
	f.Add([]byte(`{"a":["\ud83d\ude00\ud83d\u00e9\\\"",-1.5e+10,true,false,null,{}],"b":""}`))
	f.Add([]byte("\"long enough for two words \x7f \\/ \xff\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		start := Space(b, 0)
		end, fault := Value(b, start, 0)
		valid := fault == OK && Space(b, end) == len(b)
		if fault != Depth && valid != json.Valid(b) {
			t.Fatalf("%q: %v at %d", b, fault, end)
		}
		if !valid {
			return
		}
		if Skip(b, start) != end {
			t.Fatalf("%q: skipped to %d, not %d", b, Skip(b, start), end)
		}
		var s string
		if b[start] != '"' || json.Unmarshal(b, &s) != nil {
			return
		}
		raw := b[start+1 : end-1]
		got := string(Unquote(nil, raw))
		if strings.ToValidUTF8(got, "\ufffd") != strings.ToValidUTF8(s, "\ufffd") && json.Valid([]byte(got)) {
			t.Fatalf("%q: %q, want %q", b, got, s)
		}
		if TextLen(raw) != len(got) {
			t.Fatalf("%q: length %d, is %d", b, TextLen(raw), len(got))
		}
		var back string
		if err := json.Unmarshal(AppendString(nil, got), &back); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		var same string
		plain, err := json.Marshal(got)
		if err != nil || json.Unmarshal(plain, &same) != nil || same != back {
			t.Fatalf("%q: %q, want %q", got, back, same)
		}
	})
}
