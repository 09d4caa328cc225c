package sandbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tollgate-io/tollgate/docs"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// sheet is a Writer that keeps what it gets, and fails after so many writes if fail is set.
type sheet struct {
	status int
	kind   string
	body   bytes.Buffer
	writes int
	fail   int
}

var errGone = errors.New("gone")

func (s *sheet) Header(status int, contentType string) { s.status, s.kind = status, contentType }

func (s *sheet) Write(p []byte) error {
	if s.writes++; s.fail > 0 && s.writes > s.fail {
		return errGone
	}
	s.body.Write(p)
	return nil
}

func engine(t testing.TB) *Engine {
	t.Helper()
	e, err := New(docs.Manual())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func chat(t testing.TB, e *Engine, fields, text string) *sheet {
	t.Helper()
	content, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var s sheet
	body := fmt.Sprintf(`{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":%s}]%s}`, content, fields)
	if err := e.ServeChat(t.Context(), []byte(body), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

type result struct {
	Model   string
	Choices []struct {
		Message struct{ Role, Content string }
		Finish  string `json:"finish_reason"`
	}
	Error struct{ Message, Type, Param, Code string }
}

func decode(t testing.TB, s *sheet) result {
	t.Helper()
	var r result
	if err := json.Unmarshal(s.body.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, s.body.Bytes())
	}
	return r
}

func TestFindsTheSection(t *testing.T) {
	tests := []struct{ question, heading string }{
		{"What is a hold?", "What a hold is"},
		{"Why was my call refused with 402?", "Why a call was refused with 402"},
		{"How do I create a key with a budget?", "Create a key"},
		{"how can I stream the answer", "Streaming"},
		{"How is a model name resolved when it contains slashes?", "How a model name is resolved"},
		{"What does an interrupted call cost?", "What an interrupted call costs"},
		{"How do I start the demo?", "Start the demo"},
		{"Are you a language model?", "The sandbox model"},
		{"How do I publish a model?", "Publish a model"},
		{"how are providers paid", "How providers are paid"},
		{"What happens after a crash, or with a full disk?", "Crashes, full disks, a database that is away"},
		{"where is the sealer key and what if it is lost", "The sealer key"},
		{"what does status 429 mean", "What each status means"},
		{"什么是预占？", "什么是预占"},
		{"为什么返回 402？", "为什么返回 402"},
		{"如何创建密钥", "创建密钥"},
		{"怎样使用流式输出？", "流式输出"},
		{"中断的调用怎么收费？", "中断的调用如何收费"},
		{"如何启动演示？", "启动演示"},
		{"你是大语言模型吗？", "沙盒模型"},
		{"提供方怎么收款", "提供方如何收款"},
		{"磁盘写满了会怎样", "崩溃、磁盘满与数据库停机"},
	}
	e := engine(t)
	for _, tt := range tests {
		r := decode(t, chat(t, e, "", tt.question))
		text := r.Choices[0].Message.Content
		quoted := "section “" + tt.heading + "”:"
		label := "no language model"
		if language(tt.question) == chinese {
			quoted, label = "“"+tt.heading+"”一节：", "不是大语言模型"
		}
		if !strings.Contains(text, quoted) || !strings.Contains(text, label) {
			t.Errorf("%s\n%s", tt.question, text)
		}
	}
}

func TestFindsNothing(t *testing.T) {
	e := engine(t)
	for _, q := range []string{"What is the capital of France?", "hello", "?!", "今天天气怎么样", "Xyzzy plugh"} {
		text := decode(t, chat(t, e, "", q)).Choices[0].Message.Content
		if !strings.Contains(text, "no section that fits") && !strings.Contains(text, "没有与该问题相符") {
			t.Errorf("%s\n%s", q, text)
		}
	}
}

func TestStreamIsTheSameAnswer(t *testing.T) {
	e := engine(t)
	want := decode(t, chat(t, e, "", "What is a hold?")).Choices[0].Message.Content
	var u llm.Usage
	if _, err := openai.UsageFromJSON(chat(t, e, "", "What is a hold?").body.Bytes(), &u); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []bool{false, true} {
		s := chat(t, e, fmt.Sprintf(`,"stream":true,"stream_options":{"include_usage":%v}`, asked), "What is a hold?")
		if s.status != 200 || s.kind != "text/event-stream" || s.writes < 50 {
			t.Fatalf("%d %s %d", s.status, s.kind, s.writes)
		}
		var tap openai.Tap
		tap.Reset(true, "USD")
		if _, err := tap.Feed(s.body.Bytes()); err != nil || !tap.Done() {
			t.Fatal(err, tap.Done())
		}
		d := tap.Delivered()
		if string(d.Text) != want || tap.Usage().Found != asked {
			t.Errorf("%q %+v", d.Text, tap.Usage())
		}
		if asked && *tap.Usage() != u {
			t.Errorf("usage %+v, whole %+v", *tap.Usage(), u)
		}
		if d.Chunks != u.Output {
			t.Errorf("%d chunks, %d tokens", d.Chunks, u.Output)
		}
	}
}

func TestLimits(t *testing.T) {
	e := engine(t)
	for _, field := range []string{"max_tokens", "max_completion_tokens"} {
		s := chat(t, e, `,"`+field+`":5`, "What is a hold?")
		r := decode(t, s)
		var u llm.Usage
		if _, err := openai.UsageFromJSON(s.body.Bytes(), &u); err != nil || u.Output != 5 || r.Choices[0].Finish != "length" {
			t.Errorf("%s: %v %+v %s", field, err, u, r.Choices[0].Finish)
		}
	}
	r := decode(t, chat(t, e, `,"stop":["language"]`, "What is a hold?"))
	if c := r.Choices[0]; !strings.HasSuffix(c.Message.Content, "this is no ") || c.Finish != "stop" {
		t.Errorf("%+v", c)
	}
}

func TestRefuses(t *testing.T) {
	tests := []struct{ name, body, code, param string }{
		{"not JSON", `{`, "llm.json_cut", ""},
		{"n", `{"model":"m","n":2,"messages":[{"role":"user","content":"hi"}]}`, "sandbox.n", "n"},
		{"tools demanded", `{"model":"m","tools":[],"tool_choice":"required","messages":[{"role":"user","content":"hi"}]}`, "sandbox.tools", "tool_choice"},
		{"function demanded", `{"model":"m","tool_choice":{"type":"function"},"messages":[{"role":"user","content":"hi"}]}`, "sandbox.tools", "tool_choice"},
		{"JSON demanded", `{"model":"m","response_format":{"type":"json_object"},"messages":[{"role":"user","content":"hi"}]}`, "sandbox.format", "response_format"},
		{"image", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, "sandbox.part", "messages"},
		{"no messages", `{"model":"m","messages":[]}`, "sandbox.no_question", "messages"},
		{"no user", `{"model":"m","messages":[{"role":"system","content":"hi"}]}`, "sandbox.no_question", "messages"},
		{"blank", `{"model":"m","messages":[{"role":"user","content":" \n"}]}`, "sandbox.no_question", "messages"},
		{"content number", `{"model":"m","messages":[{"role":"user","content":5}]}`, "sandbox.content", "messages"},
		{"message string", `{"model":"m","messages":["hi"]}`, "llm.type_field", "messages"},
		{"stop object", `{"model":"m","stop":{},"messages":[{"role":"user","content":"hi"}]}`, "sandbox.stop", "stop"},
		{"five stops", `{"model":"m","stop":["a","b","c","d","e"],"messages":[{"role":"user","content":"hi"}]}`, "sandbox.stop", "stop"},
	}
	e := engine(t)
	for _, tt := range tests {
		var s sheet
		if err := e.ServeChat(t.Context(), []byte(tt.body), &s); err != nil {
			t.Fatal(err)
		}
		if r := decode(t, &s); s.status != 400 || r.Error.Code != tt.code || r.Error.Param != tt.param {
			t.Errorf("%s: %d %s", tt.name, s.status, s.body.Bytes())
		}
	}
	if r := decode(t, chat(t, e, `,"n":2`, "什么是预占？")); !strings.Contains(r.Error.Message, "沙盒") {
		t.Errorf("not in the language of the question: %+v", r.Error)
	}
	if s := chat(t, e, `,"tools":[{"type":"function"}],"tool_choice":"auto"`, "What is a hold?"); s.status != 200 {
		t.Errorf("a choice left to the model is refused: %s", s.body.Bytes())
	}
}

func TestCallerGone(t *testing.T) {
	e := engine(t)
	body := []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"What is a hold?"}]}`)
	s := sheet{fail: 3}
	if err := e.ServeChat(t.Context(), body, &s); !errors.Is(err, errGone) || s.writes != 4 {
		t.Errorf("%v after %d writes", err, s.writes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = sheet{}
	if err := e.ServeChat(ctx, body, &s); !errors.Is(err, context.Canceled) || s.writes != 0 {
		t.Errorf("%v after %d writes", err, s.writes)
	}
}

func TestManualMissing(t *testing.T) {
	if _, err := New(fstest.MapFS{"en/a.md": {Data: []byte("# A\n\n## B\n\nC")}}); err == nil {
		t.Error("half a manual accepted")
	}
}

func TestPieces(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"hello world", []string{"hello", " world"}},
		{"max_tokens: 12!", []string{"max", "_", "tokens", ":", " 12", "!"}},
		{"internationalisation", []string{"internat", "ionalisa", "tion"}},
		{"你好，ab\n", []string{"你", "好", "，", "ab\n"}},
		{"  \n ", []string{"  \n "}},
		{"a\xff b", []string{"a", "\xff", " b"}},
	}
	for _, tt := range tests {
		if got := Pieces(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.in, got)
		}
	}
}

func FuzzPieces(f *testing.F) {
	f.Add("hello, 世界 \xff\xfe \t internationalisation é́ \u200b")
	f.Fuzz(func(t *testing.T, s string) {
		p := Pieces(s)
		if strings.Join(p, "") != s || len(p) > len(s) || slices.Contains(p, "") {
			t.Errorf("%q: %q", s, p)
		}
	})
}

func embed(t testing.TB, e *Engine, body string) *sheet {
	t.Helper()
	var s sheet
	if err := e.ServeEmbeddings(t.Context(), []byte(body), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestEmbeddings(t *testing.T) {
	e := engine(t)
	s := embed(t, e, `{"model":"m","dimensions":64,"input":["refund of a cancelled order","cancelled orders and refunds","weather in Paris","!"]}`)
	var r struct {
		Model, Engine string
		Data          []struct {
			Index     int
			Embedding []float32
		}
	}
	if err := json.Unmarshal(s.body.Bytes(), &r); err != nil || len(r.Data) != 4 || !strings.Contains(r.Engine, "hashed") {
		t.Fatalf("%v %s", err, s.body.Bytes())
	}
	dot := func(a, b int) (sum float64) {
		for i, x := range r.Data[a].Embedding {
			sum += float64(x) * float64(r.Data[b].Embedding[i])
		}
		return sum
	}
	for i := range r.Data {
		if r.Data[i].Index != i || len(r.Data[i].Embedding) != 64 || math.Abs(dot(i, i)-1) > 1e-5 {
			t.Errorf("vector %d: length %v", i, dot(i, i))
		}
	}
	if dot(0, 1) < dot(0, 2)+0.2 {
		t.Errorf("like %v, unlike %v", dot(0, 1), dot(0, 2))
	}
	var u llm.Usage
	if _, err := openai.UsageFromJSON(s.body.Bytes(), &u); err != nil || u.Input < 10 || u.Output != 0 {
		t.Errorf("%v %+v", err, u)
	}
}

func TestEmbeddingsBase64(t *testing.T) {
	var r struct{ Data []struct{ Embedding string } }
	s := embed(t, engine(t), `{"model":"m","encoding_format":"base64","input":"text"}`)
	if err := json.Unmarshal(s.body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(r.Data[0].Embedding)
	if err != nil || len(raw) != 4*DefaultDimensions {
		t.Errorf("%v %d", err, len(raw))
	}
}

func TestEmbeddingsRefuses(t *testing.T) {
	e := engine(t)
	for body, code := range map[string]string{
		`{"model":"m"}`:                                                               "llm.field_missing",
		`{"model":"m","input":[1,2]}`:                                                 "llm.token_ids",
		`{"model":"m","input":"a","dimensions":0}`:                                    "llm.field_range",
		`{"model":"m","input":"a","dimensions":9999}`:                                 "sandbox.dimensions",
		`{"model":"m","input":"a","dimensions":"x"}`:                                  "llm.type_field",
		`{"model":"m","input":"a","encoding_format":"int8"}`:                          "llm.encoding_format",
		`{"model":"m","input":["a"` + strings.Repeat(`,"a"`, openai.MaxInputs) + `]}`: "llm.too_many_inputs",
	} {
		var s sheet
		if err := e.ServeEmbeddings(t.Context(), []byte(body), &s); problem.As(err).ID != code || s.status != 0 {
			t.Errorf("%.60s: %v %s", body, err, s.body.Bytes())
		}
	}
}
