package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestScanChat(t *testing.T) {
	tests := []struct {
		name, body string
		model      string
		stream     bool
		max, n     int64
		usage      bool
	}{
		{"plain", `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`, "gpt-4o", false, -1, 1, false},
		{"spaces", " \r\n{ \"messages\" : [ ] ,\t\"model\" : \"a/b\" , \"stream\" : true } ", "a/b", true, -1, 1, false},
		{"all", `{"model":"m","stream":true,"max_tokens":10,"max_completion_tokens":20,"n":3,"stream_options":{"include_usage":true},"messages":[]}`, "m", true, 20, 3, true},
		{"nulls", `{"model":"m","stream":null,"max_tokens":null,"n":null,"stream_options":null,"tools":null,"messages":[]}`, "m", false, -1, 1, false},
		{"escaped name", `{"model":"\u0067pt\/4","messages":[]}`, "gpt/4", false, -1, 1, false},
		{"escaped key", `{"mod\u0065l":"m","messages":[]}`, "m", false, -1, 1, false},
		{"nested fields do not count", `{"model":"m","metadata":{"model":"x","stream":true,"n":9},"messages":[{"model":"y"}]}`, "m", false, -1, 1, false},
		{"unknown types pass", `{"model":"m","messages":[],"temperature":1e-3,"x":[true,false,null,-0.5E+3,{"":""}]}`, "m", false, -1, 1, false},
	}
	var s Scan
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := ScanChat([]byte(tt.body), &s); err != nil {
				t.Fatal(err)
			}
			got := []any{string(s.Name), s.Stream, s.MaxTokens, s.N, s.IncludeUsage}
			want := []any{tt.model, tt.stream, tt.max, tt.n, tt.usage}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestScanRefuses(t *testing.T) {
	const ok = `"messages":[]`
	tests := []struct{ name, body, id, param string }{
		{"empty", ``, "llm.body_empty", ""},
		{"spaces only", "  \n", "llm.body_empty", ""},
		{"array", `[]`, "llm.body_not_object", ""},
		{"string", `"model"`, "llm.body_not_object", ""},
		{"cut", `{"model":"m","messages":[{"role":"us`, "llm.json_cut", ""},
		{"trailing", `{"model":"m",` + ok + `}x`, "llm.not_json", ""},
		{"two values", `{"model":"m",` + ok + `}{}`, "llm.not_json", ""},
		{"trailing comma", `{"model":"m",` + ok + `,}`, "llm.not_json", ""},
		{"single quotes", `{'model':'m'}`, "llm.not_json", ""},
		{"raw newline in string", "{\"model\":\"m\n\"," + ok + "}", "llm.json_control", ""},
		{"bad escape", `{"model":"\x41",` + ok + `}`, "llm.not_json", ""},
		{"NaN", `{"model":"m","temperature":NaN,` + ok + `}`, "llm.not_json", ""},
		{"leading zero", `{"model":"m","temperature":01,` + ok + `}`, "llm.not_json", ""},
		{"deep", `{"model":"m","messages":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "llm.json_depth", ""},
		{"no model", `{` + ok + `}`, "llm.field_missing", "model"},
		{"empty object", `{}`, "llm.field_missing", "model"},
		{"no messages", `{"model":"m"}`, "llm.field_missing", "messages"},
		{"model number", `{"model":4,` + ok + `}`, "llm.type_string", "model"},
		{"model null", `{"model":null,` + ok + `}`, "llm.type_string", "model"},
		{"model empty", `{"model":"",` + ok + `}`, "llm.model_length", "model"},
		{"model long", `{"model":"` + strings.Repeat("m", 600) + `",` + ok + `}`, "llm.model_length", "model"},
		{"model long escapes", `{"model":"` + strings.Repeat(`\u006d`, 6000) + `",` + ok + `}`, "llm.model_length", "model"},
		{"stream string", `{"model":"m","stream":"true",` + ok + `}`, "llm.type_bool", "stream"},
		{"stream number", `{"model":"m","stream":1,` + ok + `}`, "llm.type_bool", "stream"},
		{"max negative", `{"model":"m","max_tokens":-1,` + ok + `}`, "llm.field_range", "max_tokens"},
		{"max zero", `{"model":"m","max_tokens":0,` + ok + `}`, "llm.field_range", "max_tokens"},
		{"max float", `{"model":"m","max_tokens":1.5,` + ok + `}`, "llm.type_whole", "max_tokens"},
		{"max exponent", `{"model":"m","max_tokens":1e3,` + ok + `}`, "llm.type_whole", "max_tokens"},
		{"max string", `{"model":"m","max_tokens":"9",` + ok + `}`, "llm.type_whole", "max_tokens"},
		{"max huge", `{"model":"m","max_tokens":99999999999999999999,` + ok + `}`, "llm.field_range", "max_tokens"},
		{"n zero", `{"model":"m","n":0,` + ok + `}`, "llm.field_range", "n"},
		{"n huge", `{"model":"m","n":129,` + ok + `}`, "llm.field_range", "n"},
		{"messages object", `{"model":"m","messages":{}}`, "llm.type_array", "messages"},
		{"tools object", `{"model":"m","tools":{},` + ok + `}`, "llm.type_array", "tools"},
		{"options array", `{"model":"m","stream_options":[],` + ok + `}`, "llm.type_object", "stream_options"},
		{"include_usage number", `{"model":"m","stream_options":{"include_usage":1},` + ok + `}`, "llm.type_bool", "stream_options.include_usage"},
		{"include_usage twice", `{"model":"m","stream_options":{"include_usage":true,"include_usage":false},` + ok + `}`, "llm.field_twice", "stream_options.include_usage"},
		{"model twice", `{"model":"m","model":"x",` + ok + `}`, "llm.field_twice", "model"},
		{"model twice, escaped", `{"model":"m","m\u006fdel":"x",` + ok + `}`, "llm.field_twice", "model"},
		{"stream twice", `{"model":"m","stream":true,"stream":false,` + ok + `}`, "llm.field_twice", "stream"},
		{"case", `{"model":"m","Model":"x",` + ok + `}`, "llm.field_case", "model"},
		{"folded letter", `{"model":"m","max_to` + "\u212a" + `ens":9,` + ok + `}`, "llm.field_case", "max_tokens"},
	}
	var s Scan
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := ScanChat([]byte(tt.body), &s)
			var e *problem.Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted, or not a problem: %v", err)
			}
			param := ""
			if len(e.Fields) > 0 {
				param = e.Fields[0].Path
			}
			if e.ID != tt.id || param != tt.param || e.Kind != problem.Invalid {
				t.Errorf("got %s %q %v, want %s %q: %v", e.ID, param, e.Kind, tt.id, tt.param, err)
			}
		})
	}
}

func TestScanNamesPosition(t *testing.T) {
	var s Scan
	err := ScanChat([]byte(`{"model":"m","messages":[}`), &s)
	if err == nil || !strings.Contains(err.Error(), "not valid JSON at byte 25") {
		t.Errorf("got %v", err)
	}
}

func TestScanEmbeddings(t *testing.T) {
	tests := []struct {
		input string
		ok    bool
	}{
		{`"text"`, true}, {`""`, true}, {`["a","b"]`, true}, {`[1,2]`, true}, {`[[1,2],[3]]`, true},
		{`[]`, false}, {`[[]]`, false}, {`{}`, false}, {`1`, false}, {`null`, false}, {`["a",1]`, false},
		{`[1.5]`, false}, {`[["a"]]`, false}, {`[null]`, false}, {`[true]`, false},
	}
	var s Scan
	for _, tt := range tests {
		err := ScanEmbeddings([]byte(`{"model":"e","input":`+tt.input+`,"dimensions":3}`), &s)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.input, err)
		}
	}
	if err := ScanEmbeddings([]byte(`{"model":"e"}`), &s); err == nil {
		t.Error("no input accepted")
	}
}

func TestSplice(t *testing.T) {
	bodies := []string{
		`{"model":"m","stream":true,"messages":[]}`,
		`{"stream":true,"messages":[1,2],"model":"m"}`,
		`{ "stream_options" : {} , "model" : "m" , "stream" : true , "messages":[] }`,
		`{"stream_options":{"include_usage":false},"stream":true,"messages":[],"model":"m"}`,
		`{"messages":[],"stream_options":{"a":1,"include_usage":null,"b":{}},"stream":true,"model":"m"}`,
		`{"model":"m","stream_options":null,"stream":true,"messages":[]}`,
		`{"model":"m","messages":[],"stream":true,"stream_options":{"x":[1,{"include_usage":false}]}}`,
		`{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","messages":[],"stream":false,"stream_options":{"include_usage":false}}`,
		`{"mod\u0065l":"\u006d","stream_option\u0073":{"include_us\u0061ge":false},"stream":true,"messages":[]}`,
	}
	var s Scan
	for _, body := range bodies {
		for _, ask := range []bool{false, true} {
			for _, model := range []string{"m", "up/stream-1", `quo"te\ ` + "\n模型"} {
				checkSplice(t, &s, body, model, ask)
			}
		}
	}
}

// checkSplice compares with what decoding, editing and comparing as values gives.
func checkSplice(t *testing.T, s *Scan, body, model string, ask bool) {
	t.Helper()
	in := []byte(body)
	if err := ScanChat(in, s); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	var parts [4][]byte
	n := s.Splice(&parts, in, model, ask)
	got := bytes.Join(parts[:], nil)
	if n != len(got) {
		t.Errorf("%s: length %d, is %d", body, n, len(got))
	}
	want, have := decodeNumbers(t, in), decodeNumbers(t, got)
	want["model"] = model
	if ask && s.Stream {
		options, _ := want["stream_options"].(map[string]any)
		if options == nil {
			options = map[string]any{}
		}
		options["include_usage"] = true
		want["stream_options"] = options
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("%s ask=%v\n-> %s\n%s", body, ask, got, d)
	}
	if string(in) != body {
		t.Errorf("the body was changed: %s", in)
	}
	var again Scan
	if err := ScanChat(got, &again); err != nil {
		t.Errorf("%s\n-> %s: %v", body, got, err)
	}
}

func decodeNumbers(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

var chat64K = []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat(`Lorem ipsum dolor sit amet, consectetur.\n`, 1500) + `"}],"stream":true,"max_tokens":100}`)

func BenchmarkScan(b *testing.B) {
	small := []byte(`{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"` + strings.Repeat("Tell me more. ", 25) + `"}],"temperature":0.7,"max_tokens":128,"stream":true}`)
	for _, c := range []struct {
		name string
		body []byte
	}{{"500B", small}, {"64K", chat64K}} {
		b.Run(c.name, func(b *testing.B) {
			var s Scan
			var parts [4][]byte
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := ScanChat(c.body, &s); err != nil {
					b.Fatal(err)
				}
				s.Splice(&parts, c.body, "upstream-model", true)
			}
		})
	}
}
