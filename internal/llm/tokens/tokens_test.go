package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-io/tollgate/internal/llm"
)

func TestText(t *testing.T) {
	var c Counter
	tests := []struct {
		in   string
		want int64
	}{
		{"", 0}, {"hello world", 2}, {"Hello, world!", 4}, {"你好，世界", 3}, {"\xff\xfe", 1},
	}
	for _, tt := range tests {
		if got := c.Text(tt.in); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.in, got, tt.want)
		}
	}
}

func TestTextConcurrently(t *testing.T) {
	var c Counter
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if n := c.Text(strings.Repeat("hello world ", 10)); n != 21 {
					t.Errorf("%d", n)
				}
			}
		})
	}
	wg.Wait()
}

// TestChat holds the example of the OpenAI cookbook, which the API counted as 124 with this vocabulary.
func TestChat(t *testing.T) {
	const messages = `[
	{"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
	{"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
	{"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
	{"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
	{"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
	{"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}]`
	var c Counter
	if got, _ := c.Chat([]byte(messages), nil); got != 124 {
		t.Errorf("%d, want 124", got)
	}
}

func TestChatParts(t *testing.T) {
	var c Counter
	base, _ := c.Chat([]byte(`[{"role":"user","content":""}]`), nil)
	tests := []struct {
		name, part   string
		input, audio int64
	}{
		{"text", `{"type":"text","text":"hello world"}`, 2, 0},
		{"escapes", `{"type":"text","text":"\u4f60\u597d\uff0c\u4e16\u754c"}`, 3, 0},
		{"image by URL", `{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}`, 765, 0},
		{"bare image URL", `{"type":"image_url","image_url":"https://example.com/a.png"}`, 765, 0},
		{"low detail", `{"type":"image_url","image_url":{"url":"https://example.com/a.png","detail":"low"}}`, 85, 0},
		{"png", `{"type":"image_url","image_url":{"url":"` + picture(t, "png", 2048, 4096) + `"}}`, 1105, 0},
		{"jpeg", `{"type":"image_url","image_url":{"url":"` + picture(t, "jpeg", 1024, 1024) + `","detail":"high"}}`, 765, 0},
		{"gif", `{"type":"image_url","image_url":{"url":"` + picture(t, "gif", 10, 10) + `"}}`, 255, 0},
		{"broken image", `{"type":"image_url","image_url":{"url":"data:image/png;base64,!!!!"}}`, 765, 0},
		{"wav", `{"type":"input_audio","input_audio":{"format":"wav","data":"` + wav(48000, 2) + `"}}`, 0, 21},
		{"mp3", `{"type":"input_audio","input_audio":{"format":"mp3","data":"` + base64.StdEncoding.EncodeToString(make([]byte, 48000)) + `"}}`, 0, 30},
		{"file", `{"type":"file","file":{"file_data":"` + base64.StdEncoding.EncodeToString(make([]byte, 1600)) + `"}}`, 101, 0},
		{"file by id", `{"type":"file","file":{"file_id":"f"}}`, 0, 0},
		{"not an object", `5`, 0, 0},
	}
	for _, tt := range tests {
		input, audio := c.Chat([]byte(`[{"role":"user","content":[`+tt.part+`]}]`), nil)
		if d := input - base - tt.input; d < -1 || d > 1 || audio != tt.audio {
			t.Errorf("%s: %d and %d, want %d and %d", tt.name, input-base, audio, tt.input, tt.audio)
		}
	}
	calls, _ := c.Chat([]byte(`[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]}]`), nil)
	tools, _ := c.Chat([]byte(`[{"role":"user","content":""}]`), []byte(`[{"type":"function","function":{"name":"weather"}}]`))
	if calls <= base || tools <= base {
		t.Errorf("calls %d, tools %d, neither %d", calls, tools, base)
	}
}

func TestHugeInputIsBounded(t *testing.T) {
	var c Counter
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1<<16) // 3 MB
	got, _ := c.Chat([]byte(`[{"role":"user","content":"`+text+`"}]`), nil)
	if exact := int64(10 << 16); got < exact*9/10 || got > exact*11/10 {
		t.Errorf("%d, is %d", got, exact)
	}
	hidden := strings.Repeat(" ", 1<<20) // 128 bytes a token: not to be believed of the rest
	if got, _ = c.Chat([]byte(`[{"role":"user","content":"`+hidden+`"}]`), nil); got < 1<<20/7 {
		t.Errorf("%d", got)
	}
}

// FuzzChat holds that no request, valid or not, is counted as less than nothing or without bound.
func FuzzChat(f *testing.F) {
	f.Add([]byte(`[{"role":"user","name":"n","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}},
		{"type":"input_audio","input_audio":{"data":"UklGRiQAAABXQVZF"}},{"type":"file","file":{"file_data":"AAAA"}}],"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]`), []byte(`[{}]`))
	f.Add([]byte(`["\ud83d\u00",[1,2],`), []byte(nil))
	var c Counter
	f.Fuzz(func(t *testing.T, messages, tools []byte) {
		input, audio := c.Chat(messages, tools)
		// An image is the dearest for its length: {"image_url":5} is 15 bytes.
		if most := int64(len(messages)+len(tools)+1) * defaultImageTokens; input < 3 || audio < 0 || input > most || audio > most {
			t.Fatalf("%d and %d for %q %q", input, audio, messages, tools)
		}
		if n := c.Embeddings(messages); n < 1 || n > int64(len(messages))+1 {
			t.Fatalf("%d for %q", n, messages)
		}
	})
}

const defaultImageTokens = 765

func TestEmbeddings(t *testing.T) {
	var c Counter
	for in, want := range map[string]int64{
		`"hello world"`: 2, `["hello world","hello"]`: 3, `[1,2,3]`: 3, `[[1,2],[3]]`: 3, `""`: 1, `[""]`: 1,
	} {
		if got := c.Embeddings([]byte(in)); got != want {
			t.Errorf("%s: %d, want %d", in, got, want)
		}
	}
}

func TestOutput(t *testing.T) {
	var c Counter
	tests := []struct {
		name              string
		d                 llm.Delivered
		output, reasoning int64
	}{
		{"nothing", llm.Delivered{}, 0, 0},
		{"empty choice", llm.Delivered{Choices: 3}, 1, 0},
		{"text", llm.Delivered{Text: []byte("hello world"), Bytes: 11, Chunks: 2, Choices: 3}, 2, 0},
		{"reasoning", llm.Delivered{Text: []byte("hello world hello world"), Bytes: 23, Reasoning: 12, Chunks: 2}, 2, 2},
		{"beyond what is kept", llm.Delivered{Text: []byte("hello world"), Bytes: 44, Chunks: 8}, 8, 0},
	}
	for _, tt := range tests {
		if o, r := c.Output(&tt.d); o != tt.output || r != tt.reasoning {
			t.Errorf("%s: %d and %d, want %d and %d", tt.name, o, r, tt.output, tt.reasoning)
		}
	}
}

func picture(t *testing.T, format string, w, h int) string {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch m := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black}); format {
	case "png":
		err = png.Encode(&b, m)
	case "jpeg":
		err = jpeg.Encode(&b, m, nil)
	default:
		err = gif.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}

// wav is silence of so many seconds at a byte rate.
func wav(rate, seconds int) string {
	head := make([]byte, 44, 44+rate*seconds)
	copy(head, "RIFF")
	binary.LittleEndian.PutUint32(head[28:], uint32(rate))
	return base64.StdEncoding.EncodeToString(append(head, make([]byte, rate*seconds)...))
}

func BenchmarkCounter(b *testing.B) {
	var c Counter
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		c.Text(text)
	}
}
