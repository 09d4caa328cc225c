package assist

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func (e *Engine) knowledgeList(c *call) error {
	return view(e, c, func(tx *db.Tx) (list[*Knowledge], error) {
		all, err := listKnowledge(tx, c.Owner)
		return list[*Knowledge]{Data: all}, err
	})
}

func (e *Engine) knowledgeCreate(c *call) error {
	var k Knowledge
	if err := engine.Decode(c.Body, &k); err != nil {
		return err
	}
	if err := badName("name", k.Name, maxName); err != nil {
		return err
	}
	if k.Language != "" {
		langs, err := cleanLanguages("language", []string{k.Language})
		if err != nil {
			return err
		}
		k.Language = langs[0]
	}
	return update(e, c, http.StatusCreated, func(tx *db.Tx) (*Knowledge, error) {
		if err := insertKnowledge(tx, c.Owner, &k); err != nil {
			return nil, err
		}
		return readKnowledge(tx, c.Owner, k.ID)
	})
}

func (e *Engine) knowledgeGet(c *call) error {
	return view(e, c, func(tx *db.Tx) (*Knowledge, error) { return readKnowledge(tx, c.Owner, c.path("knowledge")) })
}

func (e *Engine) knowledgeDelete(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		return deleted{c.path("knowledge"), true}, deleteKnowledge(tx, c.Owner, c.path("knowledge"))
	})
}

func (e *Engine) documentsList(c *call) error {
	after, limit, err := c.page(100)
	if err != nil {
		return err
	}
	return view(e, c, func(tx *db.Tx) (list[*Document], error) {
		if _, err := readKnowledge(tx, c.Owner, c.path("knowledge")); err != nil {
			return list[*Document]{}, err
		}
		docs, err := e.listDocuments(tx, c.Owner, c.path("knowledge"), after, limit+1)
		return list[*Document]{docs[:min(limit, len(docs))], len(docs) > limit}, err
	})
}

func (e *Engine) documentsGet(c *call) error {
	return view(e, c, func(tx *db.Tx) (*Document, error) {
		return e.readDocument(tx, c.Owner, c.path("knowledge"), c.path("document"))
	})
}

func (e *Engine) documentsDelete(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		return deleted{c.path("document"), true}, deleteDocument(tx, c.Owner, c.path("knowledge"), c.path("document"))
	})
}

// ingesting waits for one of the places for ingestion.
func (e *Engine) ingesting(ctx context.Context) (leave func(), err error) {
	wait := time.NewTimer(10 * time.Second)
	defer wait.Stop()
	select {
	case e.heavy <- struct{}{}:
		return func() { <-e.heavy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, problem.New(problem.Unavailable, "assist.busy", "too many documents are being read; try again shortly").After(10 * time.Second)
	}
}

// documentsAdd takes files as multipart/form-data, or JSON with one of url, text and faq.
func (e *Engine) documentsAdd(c *call) error {
	var k *Knowledge
	err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) {
		k, err = readKnowledge(tx, c.Owner, c.path("knowledge"))
		return err
	})
	if err != nil {
		return err
	}
	leave, err := e.ingesting(c.ctx)
	if err != nil {
		return err
	}
	defer leave()
	var inputs []input
	if engine.IsMultipart(c.Type) {
		inputs, err = e.fromForm(c)
	} else {
		inputs, err = e.fromJSON(c)
	}
	if err != nil {
		return err
	}
	out := list[*Document]{Data: []*Document{}}
	for _, in := range inputs {
		if in.language == "" {
			in.language = k.Language
		}
		doc, err := e.put(c.ctx, c.Owner, k.ID, in)
		if err != nil {
			return err
		}
		out.Data = append(out.Data, doc)
	}
	return c.json(http.StatusCreated, out)
}

// maxInputs bounds the documents of one call.
const maxInputs = 50

func (e *Engine) fromForm(c *call) ([]input, error) {
	form, err := engine.ParseForm(c.Type, c.Body)
	if err != nil {
		return nil, err
	}
	files := append(slices.Clone(form.Files["file"]), form.Files["files"]...)
	if len(files) == 0 {
		return nil, engine.Invalid("file", "is missing; send one or more files")
	}
	if len(files) > maxInputs {
		return nil, engine.Invalid("file", "are too many in one call")
	}
	lang, err := optionalLanguage(form.Value("language"))
	if err != nil {
		return nil, err
	}
	var out []input
	for _, f := range files {
		name := path.Base(strings.ReplaceAll(oneLine(f.Name, 200), `\`, "/"))
		x, err := e.read(c.ctx, name, f.Type, f.Data)
		if err != nil {
			return nil, err
		}
		if t := form.Value("title"); t != "" && len(files) == 1 {
			x.title = t
		}
		out = append(out, x.inputs("file", name, lang)...)
	}
	return out, nil
}

func optionalLanguage(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	langs, err := cleanLanguages("language", []string{s})
	if err != nil {
		return "", err
	}
	return langs[0], nil
}

// inputs makes documents of what was read: one, or for questions one for each language.
func (x extracted) inputs(kind, source, lang string) []input {
	if x.title == "" {
		x.title = strings.TrimSuffix(source, path.Ext(source))
	}
	if len(x.faq) == 0 {
		return []input{{kind, x.title, source, source, lang, x.text}}
	}
	return faqInputs(x.faq, x.title, source, lang)
}

func faqInputs(entries []faq, title, source, lang string) []input {
	texts := map[string]*strings.Builder{}
	var langs []string
	for _, f := range entries {
		l := f.Language
		if l == "" {
			l = lang
		}
		if l == "" && script(f.Question) == "zh" {
			l = "zh"
		}
		if texts[l] == nil {
			texts[l] = &strings.Builder{}
			langs = append(langs, l)
		}
		answer := strings.ReplaceAll("\n"+normalise(strings.TrimSpace(f.Answer)), "\n#", "\n #")
		texts[l].WriteString("# " + oneLine(f.Question, 200) + "\n" + answer + "\n\n")
	}
	var out []input
	for _, l := range langs {
		out = append(out, input{"faq", title, source, source + "#" + l, l, texts[l].String()})
	}
	return out
}

func (e *Engine) fromJSON(c *call) ([]input, error) {
	var in struct {
		URL      string `json:"url"`
		Text     string `json:"text"`
		Title    string `json:"title"`
		Language string `json:"language"`
		FAQ      []faq  `json:"faq"`
	}
	if err := engine.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	lang, err := optionalLanguage(in.Language)
	if err != nil {
		return nil, err
	}
	if longer(in.Title, 200) {
		return nil, engine.Invalid("title", "must have at most 200 characters")
	}
	switch {
	case in.URL != "":
		x, err := e.fetch(c.ctx, in.URL)
		if err != nil {
			return nil, err
		}
		if in.Title != "" {
			x.title = in.Title
		}
		return x.inputs("url", in.URL, lang), nil
	case len(in.FAQ) > 0:
		return fromFAQ(in.FAQ, in.Title, lang)
	case strings.TrimSpace(in.Text) != "":
		if len(in.Text) > maxText {
			return nil, tooLong()
		}
		if in.Title == "" {
			if in.Title = firstHeading(in.Text); in.Title == "" {
				return nil, engine.Invalid("title", "is missing")
			}
		}
		return []input{{"text", in.Title, "", in.Title, lang, in.Text}}, nil
	}
	return nil, problem.New(problem.Invalid, "assist.no_document", "send a file as multipart/form-data, or JSON with one of url, text and faq")
}

func fromFAQ(entries []faq, title, lang string) ([]input, error) {
	if len(entries) > maxFAQ {
		return nil, problem.New(problem.TooLarge, "assist.too_many_faq", "a table may have %d questions at most; divide it", maxFAQ)
	}
	for i := range entries {
		f := &entries[i]
		at := "faq[" + strconv.Itoa(i) + "]"
		if strings.TrimSpace(f.Question) == "" || longer(f.Question, 1000) {
			return nil, engine.Invalid(at+".question", "must have between 1 and 1000 characters")
		}
		if strings.TrimSpace(f.Answer) == "" || longer(f.Answer, 20000) {
			return nil, engine.Invalid(at+".answer", "must have between 1 and 20000 characters")
		}
		if f.Language != "" {
			l, err := optionalLanguage(f.Language)
			if err != nil {
				return nil, err
			}
			f.Language = l
		}
	}
	if title == "" {
		title = "FAQ"
	}
	return faqInputs(entries, title, title, lang), nil
}

// fetch reads a page or file from the Internet, through the guarded client.
func (e *Engine) fetch(ctx context.Context, address string) (extracted, error) {
	var x extracted
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(address) > 2000 {
		return x, engine.Invalid("url", "must be an address that begins with https:// or http://, without a password")
	}
	if e.o.HTTP == nil {
		return x, engine.Missing("reading documents from the Internet")
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return x, engine.Invalid("url", "is not an address")
	}
	req.Header.Set("Accept", "text/html, text/plain, text/markdown, application/pdf, text/csv;q=0.9, application/vnd.openxmlformats-officedocument.wordprocessingml.document;q=0.8")
	client := *e.o.HTTP
	client.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("too many redirects")
		}
		return nil
	}
	res, err := client.Do(req)
	if err != nil {
		return x, problem.New(problem.Unprocessable, "assist.not_fetched", "the address cannot be read: it does not answer, or is not on the public Internet").Because(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return x, problem.New(problem.Unprocessable, "assist.fetch_status", "the address answered with status %d; only pages that anybody can read are taken", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxFile+1))
	if err != nil {
		return x, problem.New(problem.Unprocessable, "assist.not_fetched", "the address cannot be read: it does not answer, or is not on the public Internet").Because(err)
	}
	name := path.Base(u.Path)
	if t := res.Header.Get("Content-Type"); strings.HasPrefix(t, "text/html") {
		name = "page.html"
	}
	return e.read(ctx, name, res.Header.Get("Content-Type"), data)
}

// knowledgeReindex cuts and embeds every document anew, and reads documents by URL again.
func (e *Engine) knowledgeReindex(c *call) error {
	id := c.path("knowledge")
	leave, err := e.ingesting(c.ctx)
	if err != nil {
		return err
	}
	defer leave()
	done, failed := 0, []map[string]string{}
	for after := ""; ; {
		var docs []*Document
		err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) {
			if _, err = readKnowledge(tx, c.Owner, id); err != nil {
				return err
			}
			docs, err = e.listDocuments(tx, c.Owner, id, after, 100)
			return err
		})
		if err != nil {
			return err
		}
		if len(docs) == 0 {
			return c.json(http.StatusOK, map[string]any{"documents": done, "failed": failed})
		}
		for _, d := range docs {
			after = d.ID
			if err := e.reindex(c, id, d.ID); err != nil {
				if c.ctx.Err() != nil {
					return err
				}
				failed = append(failed, map[string]string{"document": d.ID, "detail": problem.As(err).Text(c.Language)})
				continue
			}
			done++
		}
	}
}

func (e *Engine) reindex(c *call, knowledge, id string) error {
	var d *Document
	err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) { d, err = e.readDocument(tx, c.Owner, knowledge, id); return err })
	if err != nil {
		return err
	}
	in := input{d.Kind, d.Title, d.Source, d.key, d.Language, d.Text}
	if d.Kind == "url" {
		x, err := e.fetch(c.ctx, d.Source)
		if err != nil {
			return err
		}
		if len(x.faq) == 0 {
			in.text = x.text
		}
	}
	_, err = e.put(c.ctx, c.Owner, knowledge, in)
	return err
}

// searchResult is a passage that was found.
type searchResult struct {
	Citation
	Text       string  `json:"text"`
	Score      float64 `json:"score"`
	Confidence float64 `json:"confidence"`
}

func (e *Engine) knowledgeSearch(c *call) error {
	in := struct {
		Query    string `json:"query"`
		Language string `json:"language"`
		Limit    int    `json:"limit"`
	}{Limit: 5}
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if strings.TrimSpace(in.Query) == "" || longer(in.Query, 1000) {
		return engine.Invalid("query", "must have between 1 and 1000 characters")
	}
	if in.Limit < 1 || in.Limit > 50 {
		return engine.Invalid("limit", "must be from 1 to 50")
	}
	lang, err := optionalLanguage(in.Language)
	if err != nil {
		return err
	}
	ix, err := e.index(c.ctx, c.Owner, c.path("knowledge"))
	if err != nil {
		return err
	}
	if lang == "" {
		lang = e.identify(in.Query, ix.language())
	}
	f, err := e.ask(c.ctx, ix, in.Query, lang, "", in.Limit)
	if err != nil {
		return err
	}
	q := asQuery(in.Query)
	asked := q.asked()
	out := []searchResult{}
	for i, h := range f.hits {
		_, _, text := ix.passage(h)
		cite := f.cite(f.hits[i])
		cite.Quote = ""
		out = append(out, searchResult{cite, text, round(h.score * rrfK), round(h.confidence(asked))})
	}
	return c.json(http.StatusOK, map[string]any{"results": out, "language": f.lang, "engine": engineName, "model": "retrieval"})
}
