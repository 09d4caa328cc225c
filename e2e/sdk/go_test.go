package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// sentence is what the fake says, once for ten tokens.
const sentence = "The quick brown fox jumps over the lazy dog."

func (w *world) testGo(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *goClient)
	}{
		{"chat", goChat},
		{"stream", goStream},
		{"tools", goTools},
		{"passes through", goPassThrough},
		{"embeddings", goEmbeddings},
		{"models", goModels},
		{"refusals", goRefusals},
		{"no retry on 402", goFunds},
		{"Retry-After", goRetryAfter},
		{"upstream fails", goUpstreamFails},
		{"stream breaks", goBrokenStream},
		{"client leaves", goLeaves},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newGoClient(t, w, w.Env["TOLLGATE_KEY"])) })
	}
}

// goClient is the SDK with a base URL and a key; what it sends is counted on its way out.
type goClient struct {
	openai.Client
	t    *testing.T
	w    *world
	sent int
	body []byte // of the last request
}

func newGoClient(t *testing.T, w *world, key string) *goClient {
	c := &goClient{t: t, w: w}
	c.Client = openai.NewClient(option.WithBaseURL(w.URL+"/v1"), option.WithAPIKey(key),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			c.sent++
			if r.GetBody != nil {
				body, err := r.GetBody()
				if err != nil {
					return nil, err
				}
				if c.body, err = io.ReadAll(body); err != nil {
					return nil, err
				}
			}
			return next(r)
		}))
	return c
}

// other is a client with another key.
func (c *goClient) other(env string) *goClient { return newGoClient(c.t, c.w, c.w.Env[env]) }

func hello(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say something.")}}
}

// chat calls a model and returns the answer and its request id.
func (c *goClient) chat(p openai.ChatCompletionNewParams, options ...option.RequestOption) (*openai.ChatCompletion, string) {
	c.t.Helper()
	var resp *http.Response
	a, err := c.Chat.Completions.New(c.t.Context(), p, append(options, option.WithResponseInto(&resp))...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a, resp.Header.Get("X-Request-Id")
}

// generation is the record of a call; see [gateway.GenerationView].
type generation struct {
	Outcome, Charge, Currency string
	Status                    int
	Stream, Estimated         bool
	Usage                     map[string]int64
}

// generation waits for the record of a call, which may be about to be settled.
func (c *goClient) generation(id string) (g generation) {
	c.t.Helper()
	eventually(c.t, "there is a record of "+id, func() bool { return c.Get(c.t.Context(), "generations/"+id, nil, &g) == nil })
	return g
}

// costs compares the cost in an answer's usage with the settled charge.
func (c *goClient) costs(id string, usage openai.CompletionUsage) generation {
	c.t.Helper()
	g := c.generation(id)
	told, err := strconv.ParseFloat(usage.JSON.ExtraFields["cost"].Raw(), 64)
	settled, err2 := strconv.ParseFloat(g.Charge, 64)
	if errors.Join(err, err2) != nil || told != settled || told == 0 {
		c.t.Errorf("usage.cost is %v, charged %v (%v, %v)", told, settled, err, err2)
	}
	return g
}

func goChat(t *testing.T, c *goClient) {
	a, id := c.chat(hello("fake-classes"))
	if a.Choices[0].Message.Content == "" || a.Usage.PromptTokens != 1000 || a.Usage.CompletionTokensDetails.ReasoningTokens != 80 {
		t.Errorf("%+v", a)
	}
	want := map[string]int64{"input": 450, "cached_input": 400, "cache_write": 100, "output": 100, "reasoning": 80, "audio_input": 50, "audio_output": 20}
	g := c.costs(id, a.Usage)
	if diff := cmp.Diff(want, g.Usage); diff != "" || g.Outcome != "completed" || g.Estimated {
		t.Error(g, diff)
	}
}

// read reads a stream to its end.
func read(s *ssestream.Stream[openai.ChatCompletionChunk]) (text string, last openai.ChatCompletionChunk, n int, err error) {
	for s.Next() {
		last = s.Current()
		n++
		for _, choice := range last.Choices {
			text += choice.Delta.Content
		}
	}
	return text, last, n, s.Err()
}

func goStream(t *testing.T, c *goClient) {
	var resp *http.Response
	text, last, _, err := read(c.Chat.Completions.NewStreaming(t.Context(), hello("fake"), option.WithResponseInto(&resp)))
	if err != nil || text != sentence+sentence || last.JSON.Usage.Valid() || len(last.Choices) != 1 {
		t.Errorf("%v, %q, %s", err, text, last.RawJSON())
	}
	if g := c.generation(resp.Header.Get("X-Request-Id")); !g.Stream || g.Estimated || g.Charge != "0.0000135" {
		t.Errorf("%+v", g)
	}
	for _, model := range []string{"fake", "fake-no-usage"} {
		p := hello(model)
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		_, last, _, err = read(c.Chat.Completions.NewStreaming(t.Context(), p, option.WithResponseInto(&resp)))
		if err != nil || len(last.Choices) != 0 || last.Usage.CompletionTokens == 0 {
			t.Fatalf("%s: %v %s", model, err, last.RawJSON())
		}
		g := c.costs(resp.Header.Get("X-Request-Id"), last.Usage)
		if g.Usage["output"] != last.Usage.CompletionTokens || g.Estimated != (model == "fake-no-usage") {
			t.Errorf("%s: %+v", model, g)
		}
	}
}

func goTools(t *testing.T, c *goClient) {
	p := hello("fake-tools")
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "weather", Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"location": map[string]any{"type": "string"}}}})}
	var acc openai.ChatCompletionAccumulator
	stream := c.Chat.Completions.NewStreaming(t.Context(), p)
	var finished string
	for stream.Next() {
		acc.AddChunk(stream.Current())
		if call, ok := acc.JustFinishedToolCall(); ok {
			finished = call.Name + call.Arguments
		}
	}
	if stream.Err() != nil || finished != `weather{"location":"Paris","unit":"celsius"}` {
		t.Fatal(stream.Err(), finished)
	}
	a, _ := c.chat(p)
	calls := a.Choices[0].Message.ToolCalls
	if len(calls) != 1 || calls[0].Function.Name != "weather" || a.Choices[0].FinishReason != "tool_calls" {
		t.Fatal(a.RawJSON())
	}
	p.Messages = append(p.Messages, a.Choices[0].Message.ToParam(), openai.ToolMessage("21 °C, 晴", calls[0].ID))
	if a, _ = c.chat(p); a.Choices[0].Message.Content != sentence+sentence {
		t.Fatal(a.RawJSON())
	}
}

func goPassThrough(t *testing.T, c *goClient) {
	p := hello("fake-echo")
	p.Messages = append(p.Messages, openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart("What is this? 这是什么？ \"\\\u2028"),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64,iVBORw0KGgo=", Detail: "low"})}))
	p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "answer", Strict: openai.Bool(true), Schema: map[string]any{"type": "object"}}}
	a, _ := c.chat(p, option.WithJSONSet("top_k", 40), option.WithJSONSet("guided.deep", []any{1, 2.5e-3, nil}))
	if got := string(c.w.fake.Last().Body); got != string(c.body) {
		t.Errorf("the upstream received\n%s\nthe SDK sent\n%s", got, c.body)
	}
	if a.Choices[0].Message.Content != string(c.body) {
		t.Errorf("the echo is %s", a.Choices[0].Message.Content)
	}
}

func goEmbeddings(t *testing.T, c *goClient) {
	var resp *http.Response
	a, err := c.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "fake",
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}}, option.WithResponseInto(&resp))
	if err != nil || len(a.Data) != 2 || len(a.Data[1].Embedding) != 8 {
		t.Fatal(err, a)
	}
	var norm float64
	for _, v := range a.Data[0].Embedding {
		norm += v * v
	}
	if math.Abs(norm-1) > 1e-3 {
		t.Errorf("the vector's length is %v", norm)
	}
	g := c.generation(resp.Header.Get("X-Request-Id"))
	if diff := cmp.Diff(map[string]int64{"input": 20}, g.Usage); diff != "" || a.Usage.JSON.ExtraFields["cost"].Raw() != g.Charge {
		t.Error(diff, g, a.Usage.RawJSON())
	}
}

func goModels(t *testing.T, c *goClient) {
	list := c.Models.ListAutoPaging(t.Context())
	seen := map[string]bool{}
	for list.Next() {
		seen[list.Current().ID] = true
	}
	const name = "fake/with/slashes:7b"
	if list.Err() != nil || !seen["fake-50"] || !seen[name] {
		t.Fatal(list.Err(), seen)
	}
	if m, err := c.Models.Get(t.Context(), name); err != nil || m.ID != name || m.OwnedBy != "demo-provider" {
		t.Fatal(err, m)
	}
	for _, model := range []string{name, "demo-provider/" + name} {
		if a, _ := c.chat(hello(model)); a.Choices[0].Message.Content != sentence+sentence {
			t.Error(a.RawJSON())
		}
	}
}

// apiError is the error that a call must end with.
func apiError(t *testing.T, err error, status int, code string) *openai.Error {
	t.Helper()
	var e *openai.Error
	if !errors.As(err, &e) {
		t.Fatalf("no error of the SDK's: %v", err)
	}
	if e.StatusCode != status || e.Code != code || e.Message == "" || e.Type == "" || !strings.HasPrefix(e.Response.Header.Get("X-Request-Id"), "evt_") {
		t.Errorf("status %d, %s; want %d, code %q", e.StatusCode, e.RawJSON(), status, code)
	}
	return e
}

func goRefusals(t *testing.T, c *goClient) {
	ctx := t.Context()
	broken := hello("fake")
	broken.SetExtraFields(map[string]any{"max_tokens": "many"})
	for _, x := range []struct {
		client *goClient
		params openai.ChatCompletionNewParams
		status int
		code   string
	}{
		{newGoClient(t, c.w, "sk-wrong"), hello("fake"), 401, "invalid_api_key"},
		{c.other("TOLLGATE_CONSUMER_TOKEN"), hello("fake"), 403, "auth.not_inference"},
		{c.other("KEY_ONE_MODEL"), hello("fake-50"), 403, "gateway.key_not_for_model"},
		{c, hello("gpt-99"), 404, "model_not_found"},
		{c, broken, 400, "llm.type_whole"},
	} {
		x.client.sent = 0
		_, err := x.client.Chat.Completions.New(ctx, x.params)
		apiError(t, err, x.status, x.code)
		if x.client.sent != 1 {
			t.Errorf("%d requests for a %d", x.client.sent, x.status)
		}
	}
	_, err := c.Models.Get(ctx, "gpt/99")
	apiError(t, err, 404, "model_not_found")
	_, err = c.Responses.New(ctx, responses.ResponseNewParams{Model: "fake", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("x")}})
	apiError(t, err, 404, "gateway.path_unknown")
	_, err = c.Chat.Completions.New(ctx, hello("fake-400"))
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 400 || !strings.Contains(e.Message, "fake error with status 400") {
		t.Errorf("an upstream's refusal is not handed on: %v", err)
	}
}

func goFunds(t *testing.T, c *goClient) {
	for env, code := range map[string]string{"KEY_POOR": "settle.wallet_exhausted", "KEY_SMALL_BUDGET": "settle.budget_exhausted"} {
		poor := c.other(env)
		_, err := poor.Chat.Completions.New(t.Context(), hello("fake"))
		if e := apiError(t, err, 402, code); e.Type != "payment_required" || poor.sent != 1 {
			t.Errorf("%d requests, %s", poor.sent, e.RawJSON())
		}
		if _, _, _, err = read(poor.Chat.Completions.NewStreaming(t.Context(), hello("fake"))); poor.sent != 2 {
			t.Errorf("%d requests with a stream", poor.sent)
		}
		apiError(t, err, 402, code)
	}
}

func goRetryAfter(t *testing.T, c *goClient) {
	limited := c.other("KEY_LIMITED_GO")
	var began time.Time
	for i := 0; i < 200 && limited.sent < 2; i++ {
		limited.sent, began = 0, time.Now()
		limited.chat(hello("fake"))
	}
	// Without the header the SDK waits for half a second at most.
	if took := time.Since(began); limited.sent != 2 || took < 950*time.Millisecond {
		t.Errorf("%d requests in %v", limited.sent, took)
	}
	var err error
	for i := 0; i < 200 && err == nil; i++ {
		_, err = limited.Chat.Completions.New(t.Context(), hello("fake"), option.WithMaxRetries(0))
	}
	e := apiError(t, err, 429, "rate_limit_exceeded")
	if h := e.Response.Header; !strings.Contains("1 2", h.Get("Retry-After")) || h.Get("X-Ratelimit-Limit-Requests") != "30" || h.Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("%v", h)
	}
}

func goUpstreamFails(t *testing.T, c *goClient) {
	_, err := c.Chat.Completions.New(t.Context(), hello("fake-500"), option.WithMaxRetries(1))
	apiError(t, err, 502, "gateway.upstream")
	if c.sent != 2 {
		t.Errorf("%d requests", c.sent)
	}
}

func goBrokenStream(t *testing.T, c *goClient) {
	for _, model := range []string{"fake-error-event", "fake-broken"} {
		var resp *http.Response
		text, _, _, err := read(c.Chat.Completions.NewStreaming(t.Context(), hello(model), option.WithResponseInto(&resp)))
		var e *ssestream.StreamError
		if !errors.As(err, &e) || text != "The quick brown fox jumps" {
			t.Fatalf("%s: %q, %v", model, text, err)
		}
		var told struct {
			Error struct{ Code string }
		}
		if err := json.Unmarshal(e.Event.Data, &told); err != nil || told.Error.Code != "gateway.stream_broken" {
			t.Errorf("%s: %v %s", model, err, e.Event.Data)
		}
		if g := c.generation(resp.Header.Get("X-Request-Id")); g.Outcome != "upstream_lost" || g.Usage["output"] != 5 {
			t.Errorf("%s: %+v", model, g)
		}
	}
}

func goLeaves(t *testing.T, c *goClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Chat.Completions.New(ctx, hello("fake-slow")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := c.Chat.Completions.New(t.Context(), hello("fake-slow"), option.WithRequestTimeout(200*time.Millisecond), option.WithMaxRetries(0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var resp *http.Response
	stream := c.Chat.Completions.NewStreaming(ctx, hello("fake-long"), option.WithResponseInto(&resp))
	n := int64(0)
	for stream.Next() {
		if d := stream.Current().Choices[0].Delta; d.Content != "" {
			if n++; n == 20 {
				cancel()
			}
		}
	}
	if !errors.Is(stream.Err(), context.Canceled) {
		t.Error(stream.Err())
	}
	g := c.generation(resp.Header.Get("X-Request-Id"))
	// A chunk is a token, but for ".The", which is one of two; and some may be under way.
	if g.Outcome != "client_gone" || g.Status != 499 || g.Usage["output"] < n-1 || g.Usage["output"] > n+200 || g.Charge == "0" {
		t.Errorf("%d chunks received, %+v", n, g)
	}
}

func goBuiltIn(t *testing.T, c *goClient) {
	a, id := c.chat(hello(c.w.Env["TOLLGATE_MODEL"]))
	if g := c.costs(id, a.Usage); a.Choices[0].Message.Content == "" || g.Usage["output"] != a.Usage.CompletionTokens {
		t.Errorf("%+v, %s", g, a.RawJSON())
	}
	p := hello(c.w.Env["TOLLGATE_MODEL"])
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	var resp *http.Response
	text, last, n, err := read(c.Chat.Completions.NewStreaming(t.Context(), p, option.WithResponseInto(&resp)))
	if err != nil || text != a.Choices[0].Message.Content || n < 4 {
		t.Fatalf("%d events, %v: %q, whole it was %q", n, err, text, a.Choices[0].Message.Content)
	}
	c.costs(resp.Header.Get("X-Request-Id"), last.Usage)
}
