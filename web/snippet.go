package web

import (
	"encoding/json"
	"regexp"
	"strings"
)

// sample is a call in a programming language.
type sample struct {
	ID   string // of the language: curl
	Name string
	Note string // id of the text about what it needs, if anything
	Code string
}

// samples are calls of a model with nothing but the base URL changed. The key comes from the environment.
func samples(publicURL, model string, embeddings bool) []sample {
	base := publicURL + "/v1"
	var curl, python, js, goCode string
	if embeddings {
		curl, python, js, goCode = curlEmbeddings, pythonEmbeddings, jsEmbeddings, goEmbeddings
	} else {
		curl, python, js, goCode = curlChat, pythonChat, jsChat, goChat
	}
	fill := func(code string) string {
		return strings.NewReplacer("«base»", quote(base), "«model»", quote(model)).Replace(code)
	}
	shell := strings.NewReplacer("«base»", shellSafe(base), "«model»", shellSafe(quote(model))).Replace(curl)
	return []sample{
		{ID: "curl", Name: "curl", Code: shell},
		{ID: "python", Name: "Python", Note: "pip install openai", Code: fill(python)},
		{ID: "javascript", Name: "JavaScript", Note: "npm install openai", Code: fill(js)},
		{ID: "go", Name: "Go", Note: "go get github.com/openai/openai-go/v3", Code: fill(goCode)},
	}
}

// quote makes a text a string of JSON, which is one of Python, JavaScript and Go too.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings encode
	}
	return strings.TrimSpace(b.String())
}

// shellSafe makes a text fit to stand between single quotes of a shell.
func shellSafe(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

const curlChat = `export TOLLGATE_KEY=sk-tg-inf-…   # your key

curl -N '«base»/chat/completions' \
  -H "Authorization: Bearer $TOLLGATE_KEY" \
  -H 'Content-Type: application/json' \
  -d '{
    "model": «model»,
    "messages": [{"role": "user", "content": "What is a hold?"}],
    "stream": true,
    "stream_options": {"include_usage": true}
  }'
`

const pythonChat = `import os
from openai import OpenAI

client = OpenAI(
    base_url=«base»,
    api_key=os.environ["TOLLGATE_KEY"],
)

stream = client.chat.completions.create(
    model=«model»,
    messages=[{"role": "user", "content": "What is a hold?"}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
    elif chunk.usage:
        print("\ncost:", chunk.usage.cost, chunk.usage.currency)
`

const jsChat = `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: «base»,
  apiKey: process.env.TOLLGATE_KEY,
});

const stream = await client.chat.completions.create({
  model: «model»,
  messages: [{ role: "user", content: "What is a hold?" }],
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  if (chunk.usage) console.log("\ncost:", chunk.usage.cost, chunk.usage.currency);
}
`

const goChat = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(
		option.WithBaseURL(«base»),
		option.WithAPIKey(os.Getenv("TOLLGATE_KEY")),
	)
	stream := client.Chat.Completions.NewStreaming(context.Background(), openai.ChatCompletionNewParams{
		Model:         «model»,
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is a hold?")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	})
	for stream.Next() {
		chunk := stream.Current()
		if len(chunk.Choices) > 0 {
			fmt.Print(chunk.Choices[0].Delta.Content)
		} else {
			fmt.Println("\ncost:", chunk.Usage.JSON.ExtraFields["cost"].Raw())
		}
	}
	if err := stream.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

const curlEmbeddings = `export TOLLGATE_KEY=sk-tg-inf-…   # your key

curl '«base»/embeddings' \
  -H "Authorization: Bearer $TOLLGATE_KEY" \
  -H 'Content-Type: application/json' \
  -d '{"model": «model», "input": "A toll is paid at the gate."}'
`

const pythonEmbeddings = `import os
from openai import OpenAI

client = OpenAI(
    base_url=«base»,
    api_key=os.environ["TOLLGATE_KEY"],
)

answer = client.embeddings.create(
    model=«model»,
    input="A toll is paid at the gate.",
)
print(len(answer.data[0].embedding), "numbers, cost:", answer.usage.cost)
`

const jsEmbeddings = `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: «base»,
  apiKey: process.env.TOLLGATE_KEY,
});

const answer = await client.embeddings.create({
  model: «model»,
  input: "A toll is paid at the gate.",
});
console.log(answer.data[0].embedding.length, "numbers, cost:", answer.usage.cost);
`

const goEmbeddings = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(
		option.WithBaseURL(«base»),
		option.WithAPIKey(os.Getenv("TOLLGATE_KEY")),
	)
	answer, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{
		Model: «model»,
		Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("A toll is paid at the gate.")},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(len(answer.Data[0].Embedding), "numbers, cost:", answer.Usage.JSON.ExtraFields["cost"].Raw())
}
`

// token is a piece of code of one colour: Class "s" string, "c" comment, "k" word of the language, or "".
type token struct{ Class, Text string }

// words are what the samples' languages have of their own, as far as the samples use it.
var words = regexp.MustCompile(`^(import|from|for|in|if|elif|print|await|async|const|new|of|package|func|else|export|curl|range|var|True)\b`)

var tokens = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|(?m:(?:^|\s)(?:#|//) .*$)|\b[A-Za-z]+\b`)

// highlight splits code for colouring. Joined again the pieces are the code.
func highlight(code string) (out []token) {
	for code != "" {
		at := tokens.FindStringIndex(code)
		if at == nil {
			return append(out, token{"", code})
		}
		piece := code[at[0]:at[1]]
		class := ""
		switch {
		case strings.HasPrefix(piece, `"`):
			class = "s"
		case strings.HasPrefix(strings.TrimSpace(piece), "# ") || strings.HasPrefix(strings.TrimSpace(piece), "// "):
			class = "c"
		case words.MatchString(piece):
			class = "k"
		}
		out = append(out, token{"", code[:at[0]]}, token{class, piece})
		code = code[at[1]:]
	}
	return out
}
