package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/docs"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/engine/recommend"
	"github.com/tollgate-io/tollgate/internal/engine/speech"
	language "github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
	"github.com/tollgate-io/tollgate/internal/gateway"
	"github.com/tollgate-io/tollgate/internal/meter"
)

// engineSet is the first-party capability engines. Each is cheap until it is first used.
type engineSet struct {
	onnx      *onnx.Runtime
	translate *translate.Engine
	ids       *language.Identifier
	vectors   *language.Vectors
	text      *language.Engine
	speech    *speech.Engine
	vision    *vision.Engine
	assist    *assist.Engine
	recommend *recommend.Engine
}

// openEngines makes the engines.
func (a *App) openEngines(ctx context.Context) (err error) {
	e := &a.engines
	dir := engine.Dir(a.Config.Engines)
	e.onnx = onnx.New(onnx.Options{Dir: dir, Log: a.Log})
	a.defers(func(context.Context) error { return e.onnx.Close() })
	e.ids, e.vectors = language.NewIdentifier(dir), language.NewVectors(dir)
	if e.text, err = language.New(language.Options{DB: a.DB, Dir: dir, Identifier: e.ids, Vectors: e.vectors}); err != nil {
		return err
	}
	a.defers(e.text.Close)
	e.speech, err = speech.New(speech.Options{Dir: dir, ONNX: e.onnx, Log: a.Log,
		Translate: func(ctx context.Context, _, text, from, to string) (string, string, error) {
			t, err := e.translated(ctx, text, from, to)
			return t.Text, t.Quality, err
		},
		Identify: func(text string) string { lang, _ := e.ids.Identify(text); return lang }})
	if err != nil {
		return err
	}
	a.defers(e.speech.Close)
	if e.vision, err = vision.New(vision.Options{DB: a.DB, Sealer: a.Sealer, Dir: dir, ONNX: e.onnx, Log: a.Log}); err != nil {
		return err
	}
	a.defers(e.vision.Close)
	e.translate, err = translate.New(translate.Options{DB: a.DB, Sealer: a.Sealer, Dir: dir, Log: a.Log, Usage: a.charactersUsed, Identify: e.ids.Identify, Hear: e.heard,
		Speak: func(ctx context.Context, text, lang string) ([]byte, error) {
			return e.speech.Speak(ctx, text, lang, "")
		}})
	if err != nil {
		return err
	}
	a.defers(e.translate.Close)
	if err := e.translate.SealPlain(ctx); err != nil {
		return err
	}
	help := assist.Options{DB: a.DB, Sealer: a.Sealer, HTTP: a.Egress.HTTP(), Log: a.Log, Identify: e.ids.Identify,
		Translate: e.translated, Train: e.train, Hear: e.hear, Speak: e.speak, NewRecogniser: e.listen, Voices: e.speech.Able}
	help.Embed, help.EmbedModel = e.embed()
	e.assist, err = assist.New(help)
	if err != nil {
		return err
	}
	a.defers(e.assist.Close)
	if e.recommend, err = recommend.New(recommend.Options{DB: a.DB, Log: a.Log}); err != nil {
		return err
	}
	a.defers(e.recommend.Close)
	return nil
}

// mounts is how the gateway finds them: by the name after builtin://, which is their capability's first.
func (e *engineSet) mounts() map[string]engine.Engine {
	return map[string]engine.Engine{"translate": e.translate, "text": e.text, "speech": e.speech, "transcribe": e.speech, "speak": e.speech,
		"vision": e.vision, "image": e.vision, "assist": e.assist, "recommend": e.recommend}
}

// describe lists the models of all engines, installed or not.
func (e *engineSet) describe() []engine.Info {
	var all []engine.Info
	for _, d := range []engine.Describer{e.translate, e.text, e.speech, e.vision, e.assist, e.recommend} {
		all = append(all, d.Describe()...)
	}
	return all
}

// installable counts the engine models that are not there and that scripts/install-engines brings.
func (e *engineSet) installable() (n int) {
	for _, i := range e.describe() {
		if !i.Ready && (strings.HasPrefix(i.Need, "scripts/install-engines") || strings.HasSuffix(i.Need, ": scripts/install-engines")) {
			n++
		}
	}
	return n
}

// routes are all contracts.
func contractRoutes() []engine.Route {
	var all []engine.Route
	for _, r := range [][]engine.Route{translate.Routes(), language.Routes(), speech.Routes(), vision.Routes(), assist.Routes(), recommend.Routes()} {
		all = append(all, r...)
	}
	return all
}

// contracts are the OpenAPI documents of the contracts, by capability.
func contractOf(c catalog.Capability) []byte {
	switch c {
	case catalog.Translate:
		return translate.Contract()
	case catalog.TextCapability:
		return language.Contract()
	case catalog.Transcribe, catalog.Speak:
		return speech.Contract()
	case catalog.Vision, catalog.Image:
		return vision.Contract()
	case catalog.Assist:
		return assist.Contract()
	case catalog.Recommend:
		return recommend.Contract()
	}
	return nil
}

// definition is the contract of a product that can do no more than some capabilities of its family.
func definition(can []catalog.Capability) (string, error) {
	var doc map[string]json.RawMessage
	var paths map[string]map[string]json.RawMessage
	whole := contractOf(can[0])
	if whole == nil {
		return "", nil // chat and vectors have OpenAI's, which everybody knows
	}
	if err := json.Unmarshal(whole, &doc); err != nil {
		return "", err
	}
	if err := json.Unmarshal(doc["paths"], &paths); err != nil {
		return "", err
	}
	for _, rt := range contractRoutes() {
		if slices.Contains(can, catalog.Capability(rt.Capability)) {
			continue
		}
		if item := paths[rt.Pattern]; item != nil {
			delete(item, strings.ToLower(rt.Method))
			if len(item) == 0 {
				delete(paths, rt.Pattern)
			}
		}
	}
	var err error
	if doc["paths"], err = json.Marshal(paths); err != nil {
		return "", err
	}
	out, err := json.Marshal(doc)
	return string(out), err
}

// usableVectors are those that make retrieval better.
const usableVectors = "use-lite"

// embed makes vectors for retrieval, and names the model; nil where there are only hashed ones, which find less than words alone.
func (e *engineSet) embed() (func(context.Context, []string) ([][]float32, error), string) {
	name, model := e.vectors.Engine()
	if name != usableVectors {
		return nil, ""
	}
	return e.vectors.Embed, model
}

// seed gives the engines the demo's data.
// It returns the id of the bot that answers from the manual.
func (e *engineSet) seed(ctx context.Context, owner string) (bot string, err error) {
	if bot, err = e.assist.SeedDemo(ctx, owner, docs.Manual()); err != nil {
		return "", err
	}
	return bot, e.recommend.SeedDemo(ctx, owner)
}

// unlimited is how DeepL's own API says that there is no limit.
const unlimited = 1_000_000_000_000

// charactersUsed tells DeepL's clients how many characters their organisation has used this month.
func (a *App) charactersUsed(ctx context.Context, owner string) (characters, limit int64, err error) {
	now := time.Now().UTC()
	sums, err := a.Meter.Sum(ctx, meter.Filter{Org: owner, From: time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)}, "")
	for _, s := range sums {
		for _, u := range s.Units {
			if u.Meter == engine.Characters {
				characters += u.Thousandths / 1000
			}
		}
	}
	return characters, unlimited, err
}

// widget serves the chat widget: one script for any web page.
func widget(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(assist.Widget()) // the client left: nothing to do
}

// vectors mounts sentence vectors as an embeddings model.
type vectors struct{ e *language.Engine }

func (v vectors) Serve(ctx context.Context, operation string, body []byte, w gateway.BuiltinWriter) error {
	return v.e.ServeEmbeddings(ctx, body, w)
}
