package server

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/speech"
	language "github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// What one engine does for another. They meet here alone: none imports what it can do without.

// translated translates a text for another engine, with nobody's glossary or memory.
func (e *engineSet) translated(ctx context.Context, text, from, to string) (assist.Translated, error) {
	var none assist.Translated
	body, err := json.Marshal(map[string]any{"text": text, "source": from, "target": to})
	if err != nil {
		return none, err
	}
	out, err := internalCall(ctx, e.translate, translate.Routes(), "translate.text", body)
	if err != nil {
		return none, err
	}
	var answer struct {
		Translations []struct {
			Text    string `json:"text"`
			Engine  string `json:"engine"`
			Quality string `json:"quality"`
		} `json:"translations"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Translations) != 1 {
		return none, problem.New(problem.Internal, "server.engine_answer", "the engine's answer cannot be read").Because(err)
	}
	return assist.Translated(answer.Translations[0]), nil
}

// internalCall has an engine answer a route without a gateway around it.
func internalCall(ctx context.Context, e engine.Engine, routes []engine.Route, name string, body []byte) ([]byte, error) {
	for i := range routes {
		if routes[i].Name != name {
			continue
		}
		w := &sink{}
		err := e.Serve(ctx, &engine.Request{Route: &routes[i], Path: routes[i].Pattern, Query: url.Values{}, Type: "application/json", Language: "en",
			Header: func(string) string { return "" }, Body: body, Owner: "platform"}, w)
		if err == nil && w.status >= 300 {
			err = problem.New(problem.Upstream, "server.engine_refused", "the engine refused with status %d", w.status)
		}
		return w.body, err
	}
	return nil, problem.New(problem.NotFound, "server.no_route", "no engine has the operation %q", name)
}

// sink takes an engine's answer.
type sink struct {
	status int
	body   []byte
}

func (w *sink) SetHeader(name, value string)  {}
func (w *sink) Start(status int, kind string) { w.status = status }
func (w *sink) Write(b []byte) error          { w.body = append(w.body, b...); return nil }
func (w *sink) Flush() error                  { return nil }
func (w *sink) Used(engine.Quantity)          {}

// heard recognises speech that is to be translated.
func (e *engineSet) heard(ctx context.Context, audio []byte, lang string) (translate.Heard, error) {
	t, err := e.speech.Recognise(ctx, audio, lang)
	if err != nil {
		return translate.Heard{}, err
	}
	return translate.Heard{Text: t.Text, Seconds: t.Seconds, Engine: t.Engine, Model: t.Model, Quality: t.Quality, Confidence: t.Confidence}, nil
}

// hear is assist's way to recognise a recording.
func (e *engineSet) hear(ctx context.Context, audio []byte, _, lang string) (assist.Heard, error) {
	t, err := e.speech.Recognise(ctx, audio, lang)
	if err != nil {
		return assist.Heard{}, err
	}
	return assist.Heard{Text: t.Text, Language: t.Language, Seconds: t.Seconds, Confidence: t.Confidence, Engine: t.Engine}, nil
}

// speak is assist's way to say something.
func (e *engineSet) speak(ctx context.Context, text, lang, voice string) (assist.Sound, error) {
	s, err := e.speech.Say(ctx, speech.Say{Text: text, Voice: voice, Language: lang})
	if err != nil {
		return assist.Sound{}, err
	}
	return assist.Sound{PCM: s.Bytes(), Rate: s.Rate, Engine: s.Engine}, nil
}

// listen is assist's way to recognise a live voice.
func (e *engineSet) listen(ctx context.Context, lang string) (*assist.Recogniser, error) {
	l, err := e.speech.Listen(ctx, speech.Listen{Language: lang, Quiet: true})
	if err != nil {
		return nil, err
	}
	return &assist.Recogniser{
		Feed: func(pcm []byte) ([]assist.Utterance, error) {
			if err := l.Feed(pcm); err != nil {
				return nil, err
			}
			return utterances(l.Poll()), nil
		},
		Flush: func() ([]assist.Utterance, error) {
			events, err := l.Flush()
			return utterances(events), err
		},
		Close: l.Close,
	}, nil
}

func utterances(events []speech.Event) (all []assist.Utterance) {
	for _, ev := range events {
		switch ev.Type {
		case speech.SpeechStarted:
			all = append(all, assist.Utterance{Speaking: true})
		case speech.Partial:
			all = append(all, assist.Utterance{Speaking: true, Text: ev.Text})
		case speech.Final:
			all = append(all, assist.Utterance{Final: true, Text: ev.Text, Confidence: ev.Confidence})
		}
	}
	return all
}

// train is assist's way to a classifier of intents.
func (e *engineSet) train(ctx context.Context, texts, labels []string) (assist.Classify, error) {
	examples := make([]language.Example, len(texts))
	for i := range texts {
		examples[i] = language.Example{Text: texts[i], Label: labels[i]}
	}
	c, _, err := language.Train(ctx, examples, language.TrainOptions{})
	if err != nil {
		return nil, err
	}
	return func(text string) []assist.Score {
		scores := c.Predict(text, 10)
		out := make([]assist.Score, len(scores))
		for i, s := range scores {
			out[i] = assist.Score{Label: s.Label, Confidence: s.Confidence}
		}
		return out
	}, nil
}
