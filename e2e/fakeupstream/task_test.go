package fakeupstream

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	s := &Server{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	rules := `[{"contains":["weather","Paris"],"answer":"It rains in Paris."},{"contains":["weather"],"answer":"Which town?"}]`
	req, err := http.NewRequest("PUT", srv.URL+"/control/script", strings.NewReader(rules))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 204 {
		t.Fatal(err, resp)
	}
	for _, c := range []struct{ name, body, has string }{
		{"first", `{"model":"fake","messages":[{"role":"user","content":"weather"},{"role":"user","content":[{"type":"text","text":"Paris"}]}]}`, `"content":"It rains in Paris."`},
		{"second", `{"model":"fake","messages":[{"role":"user","content":"weather"}]}`, `"Which town?"`},
		{"none fits", `{"model":"fake","messages":[{"role":"user","content":"hello"}]}`, "The quick brown"},
		{"limited", `{"model":"fake","max_tokens":2,"messages":[{"role":"user","content":"weather Paris"}]}`, `"content":"It rains","refusal":null},"logprobs":null,"finish_reason":"length"`},
		{"streamed", `{"model":"fake","stream":true,"messages":[{"role":"user","content":"weather Paris"}]}`, `"content":" Paris."`},
		{"said", `{"model":"x?say=Good+day","messages":[]}`, `"completion_tokens":2`},
	} {
		if status, answer, _ := post(t, srv.URL+"/v1/chat/completions", c.body); status != 200 || !strings.Contains(answer, c.has) {
			t.Errorf("%s: %d %s", c.name, status, answer)
		}
	}
	s.Script()
	if _, answer, _ := post(t, srv.URL+"/v1/chat/completions", `{"model":"fake","messages":[{"role":"user","content":"weather"}]}`); !strings.Contains(answer, "quick") {
		t.Errorf("after the script: %s", answer)
	}
}

func TestProtocols(t *testing.T) {
	s := &Server{}
	if err := s.Set("away", "status=503"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	for _, c := range []struct {
		name, path, body string
		status           int
		has              string
	}{
		{"flask", "/translate", `{"text":"hello","sourceLanguage":"en","targetLanguage":"fr"}`, 200, `{"translation":"[fr] hello"}`},
		{"flask, incomplete", "/translate", `{"text":"hello"}`, 400, `{"error":"text, sourceLanguage`},
		{"contract", "/v1/translate", `{"model":"m","text":"hello","target":"fr"}`, 200, `"text":"[fr] hello"}]}`},
		{"contract, batch", "/v1/translate", `{"texts":["a","b"],"target":"fr"}`, 200, `"text":"[fr] b"}`},
		{"contract, no target", "/v1/translate", `{"text":"hello"}`, 400, `"status":400`},
		{"contract, refused", "/v1/translate", `{"model":"away","text":"hello","target":"fr"}`, 503, `"detail"`},
		{"infer", "/v2/models/mt/infer", `{"parameters":{"operation":"translate","target":"de"},"inputs":[{"name":"text","shape":[2,1],"datatype":"BYTES","data":["a","b"]}]}`, 200, `"data":["[de] a","[de] b"]`},
		{"infer, labels", "/v2/models/mt/infer", `{"parameters":{"operation":"text.classify","labels":"[\"x\",\"y\"]"},"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}]}`, 200, `"shape":[1,2],"datatype":"FP32","data":[0.9,0.1]`},
		{"infer, shape", "/v2/models/mt/infer", `{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["a"]}]}`, 400, `{"error":"input 'text' must`},
		{"infer, refused", "/v2/models/away/infer", `{}`, 503, `{"error":`},
		{"images", "/v1/images/generations", `{"model":"m","prompt":"a cat","n":2,"size":"8x6","response_format":"url"}`, 200, `"url":"https://images.example.com/fake.png"},{`},
		{"images, size", "/v1/images/generations", `{"model":"m","prompt":"a cat","size":"9000x1"}`, 400, "size must be"},
		{"speech, format", "/v1/audio/speech", `{"model":"m","input":"hi","voice":"v","response_format":"ogg"}`, 400, "response_format"},
		{"unknown", "/v2/models/a/b/infer", `{}`, 404, "Invalid URL"},
	} {
		if status, answer, _ := post(t, srv.URL+c.path, c.body); status != c.status || !strings.Contains(answer, c.has) {
			t.Errorf("%s: %d %s", c.name, status, answer)
		}
	}
	for path, want := range map[string]int{"/v2/health/ready": 200, "/v2/models/mt": 200, "/v2/models/mt/ready": 200, "/v2/other": 404} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestSpeechIsHeard(t *testing.T) {
	srv := httptest.NewServer(&Server{})
	defer srv.Close()
	_, sound, _ := post(t, srv.URL+"/v1/audio/speech", `{"model":"m","input":"fifteen letters","voice":"v","response_format":"wav"}`)
	for format, want := range map[string]string{
		"":             `"text":"The quick brown fox`,
		"verbose_json": `"duration":1.5`,
		"srt":          "1\n00:00:00,000 --> 00:00:00,750\n",
		"vtt":          "WEBVTT\n\n00:00:00.000 --> 00:00:00.750\n",
		"text":         "liquor jugs.\n",
		"xml":          "response_format must be",
	} {
		var b bytes.Buffer
		form := multipart.NewWriter(&b)
		_ = form.WriteField("model", "whisper-1")
		_ = form.WriteField("response_format", format)
		file, err := form.CreateFormFile("file", "a.wav")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(file, sound)
		form.Close()
		resp, err := http.Post(srv.URL+"/v1/audio/transcriptions", form.FormDataContentType(), &b)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %s %v", format, answer, err)
		}
	}
}

func TestPicturesAreReal(t *testing.T) {
	srv := httptest.NewServer(&Server{})
	defer srv.Close()
	_, answer, _ := post(t, srv.URL+"/v1/images/generations", `{"model":"m","prompt":"a cat","size":"32x16"}`)
	var got struct {
		Data []struct {
			Image []byte `json:"b64_json"`
		}
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || len(got.Data) != 1 {
		t.Fatal(err, answer)
	}
	m, err := png.DecodeConfig(bytes.NewReader(got.Data[0].Image))
	if err != nil || m.Width != 32 || m.Height != 16 {
		t.Errorf("%+v %v", m, err)
	}
}
