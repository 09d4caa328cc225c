package translate

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// libreBody is LibreTranslate's POST /translate, https://docs.libretranslate.com/api.
type libreBody struct {
	Q      json.RawMessage `json:"q"` // text, or list
	Source string          `json:"source"`
	Target string          `json:"target"`
	Format string          `json:"format"`

	texts []string
	many  bool
}

// readLibreBody reads JSON, a form, or a multipart form, as LibreTranslate does.
func readLibreBody(r *engine.Request) (*libreBody, error) {
	b := &libreBody{}
	switch {
	case engine.IsMultipart(r.Type):
		f, err := engine.ParseForm(r.Type, r.Body)
		if err != nil {
			return nil, err
		}
		b.Source, b.Target, b.Format, b.texts = f.Value("source"), f.Value("target"), f.Value("format"), f.Values["q"]
		b.many = len(b.texts) > 1
	case isForm(r.Type):
		v, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, engine.Invalid("body", "is not a valid form")
		}
		b.Source, b.Target, b.Format, b.texts = v.Get("source"), v.Get("target"), v.Get("format"), v["q"]
		b.many = len(b.texts) > 1
	default:
		if err := engine.Decode(r.Body, b); err != nil {
			return nil, err
		}
		var one string
		if len(b.Q) > 0 && json.Unmarshal(b.Q, &one) == nil && string(b.Q) != "null" {
			b.texts = []string{one}
		} else if b.many = true; len(b.Q) > 0 && json.Unmarshal(b.Q, &b.texts) != nil {
			return nil, engine.Invalid("q", "must be a text, or a list of texts")
		}
	}
	if strings.Join(b.texts, "") == "" {
		return nil, missingParameter("q")
	}
	return b, nil
}

// missingParameter is what LibreTranslate says.
func missingParameter(name string) error {
	return problem.New(problem.Invalid, "translate.libre_missing", "Invalid request: missing %s parameter", name)
}

func isForm(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(contentType), "application/x-www-form-urlencoded")
}

func (b *libreBody) job(owner string) (*job, error) {
	j := &job{owner: owner, format: formatText, memory: true}
	switch b.Format {
	case "", "text":
	case "html":
		j.format = formatHTML
	default:
		return nil, engine.Invalid("format", "must be text or html")
	}
	if b.Target == "" {
		return nil, missingParameter("target")
	}
	if err := j.languages("source", b.Source, "target", b.Target); err != nil {
		return nil, err
	}
	return j, j.addTexts(b.texts)
}

func readLibre(r *engine.Request) (*job, error) {
	b, err := readLibreBody(r)
	if err != nil {
		return nil, err
	}
	return b.job(r.Owner)
}

// detection is LibreTranslate's: confidence in per cent.
type detection struct {
	Confidence float64 `json:"confidence"`
	Language   string  `json:"language"`
}

func (e *Engine) serveLibre(ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readLibreBody(r)
	if err != nil {
		return err
	}
	j, err := b.job(r.Owner)
	if err != nil {
		return err
	}
	all, err := e.runForeign(ctx, j, w)
	if err != nil {
		return err
	}
	texts, detected := make([]string, len(all)), make([]detection, len(all))
	for i, t := range all {
		texts[i], detected[i] = t.Text, detection{percent(t.Confidence), t.Source}
	}
	answer := map[string]any{"translatedText": any(texts), "engine": all[0].Engine, "quality": all[0].Quality}
	if !b.many {
		answer["translatedText"] = texts[0]
	}
	if j.source == auto {
		if answer["detectedLanguage"] = any(detected); !b.many {
			answer["detectedLanguage"] = detected[0]
		}
	}
	return engine.WriteJSON(w, 200, answer)
}

func percent(f float64) float64 { return math.Round(f * 100) }

func (e *Engine) serveLibreDetect(_ context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readLibreBody(r)
	if err != nil {
		return err
	}
	lang, sure := e.identify(b.texts[0])
	if lang == "" {
		return engine.WriteJSON(w, 200, []detection{})
	}
	return engine.WriteJSON(w, 200, []detection{{percent(sure), lang}})
}

func (e *Engine) serveLibreLanguages(_ context.Context, _ *engine.Request, w engine.Writer) error {
	return engine.WriteJSON(w, 200, languageList(e.routes.reachable()))
}
