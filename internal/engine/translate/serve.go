package translate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"path"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// result is the answer of POST /v1/translate.
type result struct {
	Type         string        `json:"type,omitempty"` // of an event
	Translations []Translation `json:"translations"`
	Target       string        `json:"target"`
	Format       string        `json:"format"`
	Engine       string        `json:"engine"`
	Model        string        `json:"model,omitempty"`
	Quality      string        `json:"quality"`
	Ignored      []string      `json:"ignored,omitempty"`
	Characters   int           `json:"characters"`
	Document     string        `json:"document,omitempty"` // base64
}

func newResult(j *job, all []Translation) result {
	res := result{Translations: all, Target: j.target, Format: j.format, Characters: j.characters()}
	for _, t := range all {
		if res.Engine == "" || res.Engine == "none" {
			res.Engine, res.Model, res.Quality = t.Engine, t.Model, t.Quality
		}
		for _, i := range t.Ignored {
			if !among(" "+strings.Join(res.Ignored, " ")+" ", i) {
				res.Ignored = append(res.Ignored, i)
			}
		}
	}
	if j.format == formatDOCX && len(all) == 1 {
		res.Document = base64.StdEncoding.EncodeToString(all[0].data)
	}
	return res
}

func (e *Engine) serveTranslate(ctx context.Context, r *engine.Request, w engine.Writer) error {
	j, err := readTranslate(r)
	if err != nil {
		return err
	}
	if j.stream && !j.file {
		return e.stream(ctx, j, w)
	}
	all, err := e.run(ctx, j, nil)
	if err != nil {
		return err
	}
	w.Used(engine.Units(j.characters()))
	if j.file {
		return sendFile(w, j, &all[0])
	}
	return engine.WriteJSON(w, 200, newResult(j, all))
}

// sendFile answers with the translated file.
func sendFile(w engine.Writer, j *job, t *Translation) error {
	w.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": translatedName(j.name, j.target)}))
	madeBy(w, t)
	w.SetHeader("X-Translate-Characters", strconv.Itoa(j.characters()))
	w.Start(200, mediaTypes[j.format])
	return w.Write(t.data)
}

// madeBy tells in headers what an answer that is no JSON was made by.
func madeBy(w engine.Writer, t *Translation) {
	for name, v := range map[string]string{"X-Engine": t.Engine, "X-Model": t.Model, "X-Quality": t.Quality, "X-Translate-Source": t.Source, "X-Translate-Via": t.Via,
		"X-Translate-Ignored": strings.Join(t.Ignored, ",")} {
		if v != "" {
			w.SetHeader(name, v)
		}
	}
}

// translatedName is "report.docx" → "report.zh.docx".
func translatedName(name, target string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + target + ext
}

// segmentEvent is an event of a stream: a sentence, or a segment of a document.
type segmentEvent struct {
	Type    string `json:"type"` // segment
	Index   int    `json:"index"`
	Segment int    `json:"segment"`
	Text    string `json:"text"`
}

// stream answers with server-sent events: one for each piece, then the whole.
func (e *Engine) stream(ctx context.Context, j *job, w engine.Writer) error {
	started, used := false, 0
	send := func(v any) error {
		if !started {
			started = true
			w.Start(200, "text/event-stream")
		}
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := w.Write([]byte("data: " + string(data) + "\n\n")); err != nil {
			return err
		}
		return w.Flush()
	}
	all, err := e.run(ctx, j, func(p piece) error {
		used += p.characters
		w.Used(engine.Units(min(used, j.characters())))
		return send(segmentEvent{"segment", p.doc, p.index, p.text})
	})
	if err != nil {
		return err
	}
	w.Used(engine.Units(j.characters()))
	res := newResult(j, all)
	res.Type = "done"
	return send(res)
}

// plainBody is the request of POST /translate.
type plainBody struct {
	Text           *string `json:"text"`
	SourceLanguage string  `json:"sourceLanguage"`
	TargetLanguage string  `json:"targetLanguage"`
}

func readPlain(r *engine.Request) (*job, error) {
	var b plainBody
	if err := engine.Decode(r.Body, &b); err != nil {
		return nil, err
	}
	j := &job{owner: r.Owner, format: formatText, memory: true}
	if b.Text == nil {
		return nil, engine.Invalid("text", "is missing: the text to translate")
	}
	if err := notBlank(*b.Text); err != nil {
		return nil, err
	}
	if err := j.languages("sourceLanguage", b.SourceLanguage, "targetLanguage", b.TargetLanguage); err != nil {
		return nil, err
	}
	return j, j.addTexts([]string{*b.Text})
}

// servePlain answers {"translation": …}, with what made it beside.
func (e *Engine) servePlain(ctx context.Context, r *engine.Request, w engine.Writer) error {
	j, err := readPlain(r)
	if err != nil {
		return err
	}
	all, err := e.runForeign(ctx, j, w)
	if err != nil {
		return err
	}
	t := all[0]
	return engine.WriteJSON(w, 200, struct {
		Translation string `json:"translation"`
		Source      string `json:"sourceLanguage"`
		Target      string `json:"targetLanguage"`
		Engine      string `json:"engine"`
		Quality     string `json:"quality"`
	}{t.Text, t.Source, j.target, t.Engine, t.Quality})
}

// runForeign does a job of another product's contract, and tells what it used.
func (e *Engine) runForeign(ctx context.Context, j *job, w engine.Writer) ([]Translation, error) {
	all, err := e.run(ctx, j, nil)
	if err != nil {
		return nil, unsupported(err)
	}
	w.Used(engine.Units(j.characters()))
	return all, nil
}

// unsupported makes a pair that no engine here knows the caller's fault, in contracts whose clients would try again on a
// 5xx.
func unsupported(err error) error {
	var n *noPair
	switch {
	case !errors.As(err, &n):
		return err
	case len(n.targets) == 0:
		return problem.New(problem.Invalid, "translate.no_source", "there is no translation from %q here, the language that was given or identified; GET /v1/translate/languages lists the pairs", n.from).Because(err)
	case n.identified:
		return problem.New(problem.Invalid, "translate.no_pair_identified", "the text was identified as %q, and there is no translation from %q to %q here, only to: %s; if it is in another language, name that", n.from, n.from, n.to, n.into()).Because(err)
	}
	return problem.New(problem.Invalid, "translate.no_pair", "there is no translation from %q to %q here; from %q there are: %s", n.from, n.to, n.from, n.into()).Because(err)
}

// notBlank refuses a call that has nothing to translate.
func notBlank(texts ...string) error {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return nil
		}
	}
	return problem.New(problem.Invalid, "translate.empty", "text is empty; send the text to translate").WithField("text", "is empty")
}

// pairInfo is a line of GET /v1/translate/languages.
type pairInfo struct {
	Source  string `json:"source"`
	Target  string `json:"target"`
	Engine  string `json:"engine"`
	Model   string `json:"model"`
	Quality string `json:"quality"`
	Via     string `json:"via,omitempty"`
}

type languageInfo struct {
	Code    string   `json:"code"`
	Name    string   `json:"name"`
	Targets []string `json:"targets"`
}

// languageList lists the languages with what they can be translated into.
func languageList(all []route) []languageInfo {
	var list []languageInfo
	for _, r := range all {
		from := r[0].from
		if n := len(list); n == 0 || list[n-1].Code != from {
			list = append(list, languageInfo{from, languageName(from), nil})
		}
		l := &list[len(list)-1]
		l.Targets = append(l.Targets, r[len(r)-1].to)
	}
	return list
}

func (e *Engine) serveLanguages(_ context.Context, _ *engine.Request, w engine.Writer) error {
	all := e.routes.reachable()
	pairs := make([]pairInfo, 0, len(all))
	for _, r := range all {
		pairs = append(pairs, pairInfo{r[0].from, r[len(r)-1].to, r.engine(), r.model(), r.quality(), r.via()})
	}
	return engine.WriteJSON(w, 200, struct {
		Languages []languageInfo `json:"languages"`
		Pairs     []pairInfo     `json:"pairs"`
	}{languageList(all), pairs})
}
