package text

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func (e *Engine) listClassifiers(ctx context.Context, r *engine.Request) (int, any, error) {
	all, err := e.store.list(ctx, r.Owner)
	return http.StatusOK, map[string]any{"classifiers": all}, err
}

func (e *Engine) createClassifier(ctx context.Context, r *engine.Request) (int, any, error) {
	var in struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Model       string `json:"model"` // the product, which the gateway has read
	}
	if err := engine.DecodeStrict(r.Body, &in); err != nil {
		return 0, nil, err
	}
	c, err := e.store.create(ctx, r.Owner, in.Name, in.Description)
	return http.StatusCreated, c, err
}

func (e *Engine) getClassifier(ctx context.Context, r *engine.Request) (int, any, error) {
	c, err := e.store.get(ctx, r.Owner, r.Params["classifier"])
	return http.StatusOK, c, err
}

func (e *Engine) editClassifier(ctx context.Context, r *engine.Request) (int, any, error) {
	var in struct {
		Description *string `json:"description"`
		Live        *int64  `json:"live_version"`
		Model       string  `json:"model"`
	}
	if err := engine.DecodeStrict(r.Body, &in); err != nil {
		return 0, nil, err
	}
	if in.Live != nil && *in.Live < 1 {
		return 0, nil, engine.Invalid("live_version", "must be the number of a version")
	}
	c, err := e.store.edit(ctx, r.Owner, r.Params["classifier"], in.Description, in.Live)
	return http.StatusOK, c, err
}

func (e *Engine) deleteClassifier(ctx context.Context, r *engine.Request) (int, any, error) {
	return http.StatusNoContent, nil, e.store.drop(ctx, r.Owner, r.Params["classifier"])
}

func (e *Engine) listVersions(ctx context.Context, r *engine.Request) (int, any, error) {
	all, err := e.store.versions(ctx, r.Owner, r.Params["classifier"])
	return http.StatusOK, map[string]any{"versions": all}, err
}

func versionOf(r *engine.Request) (int64, error) {
	n, err := strconv.ParseInt(r.Params["version"], 10, 64)
	if err != nil || n < 1 {
		return 0, engine.Invalid("version", "must be a number from 1")
	}
	return n, nil
}

func (e *Engine) getVersion(ctx context.Context, r *engine.Request) (int, any, error) {
	n, err := versionOf(r)
	if err != nil {
		return 0, nil, err
	}
	v, err := e.store.version(ctx, r.Owner, r.Params["classifier"], n)
	return http.StatusOK, v, err
}

func (e *Engine) deleteVersion(ctx context.Context, r *engine.Request) (int, any, error) {
	n, err := versionOf(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, e.store.dropVersion(ctx, r.Owner, r.Params["classifier"], n)
}

// training is the body of a training, in any of its forms.
type training struct {
	Examples []Example `json:"examples"`
	Seed     int64     `json:"seed"`
	Live     *bool     `json:"live"`
}

func measureTraining(r *engine.Request) (engine.Quantity, error) {
	t, err := parseTraining(r)
	if err != nil {
		return 0, err
	}
	return engine.Units(max(1, t.chars())), nil
}

func (t *training) chars() (n int) {
	for _, x := range t.Examples {
		n += count(x.Text)
	}
	return n
}

// parseTraining reads JSON, CSV (or tabs), or a form with a file of one of these. In the latter two, seed and live are
// fields of the form or of the query.
func parseTraining(r *engine.Request) (*training, error) {
	t := &training{}
	kind, body, value := r.Type, r.Body, r.Query.Get
	if engine.IsMultipart(kind) {
		f, err := engine.ParseForm(kind, body)
		if err != nil {
			return nil, err
		}
		if len(f.Files["file"]) != 1 {
			return nil, engine.Invalid("file", "send one file of examples")
		}
		file := f.Files["file"][0]
		kind, body, value = file.Type, file.Data, f.Value
		if strings.HasSuffix(strings.ToLower(file.Name), ".json") {
			kind = "application/json"
		} else if kind == "" || strings.HasPrefix(kind, "application/octet-stream") {
			kind = "text/csv"
		}
	}
	if strings.HasPrefix(kind, "text/") || strings.Contains(kind, "csv") || strings.Contains(kind, "ms-excel") {
		var err error
		if t.Examples, err = readCSV(body); err != nil {
			return nil, err
		}
	} else if err := engine.Decode(body, t); err != nil {
		return nil, err
	}
	if s := value("seed"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, engine.Invalid("seed", "must be a whole number")
		}
		t.Seed = n
	}
	if s := value("live"); s != "" {
		live, err := strconv.ParseBool(s)
		if err != nil {
			return nil, engine.Invalid("live", "must be true or false")
		}
		t.Live = &live
	}
	for i := range t.Examples {
		t.Examples[i].Text, t.Examples[i].Label = strings.TrimSpace(t.Examples[i].Text), strings.TrimSpace(t.Examples[i].Label)
	}
	_, err := checkExamples(t.Examples)
	return t, err
}

// Names that a column of texts and one of labels may have.
var (
	textColumns  = wordSet("text question utterance sentence content message query review 文本 内容 问题 句子")
	labelColumns = wordSet("label category intent class tag sentiment target 标签 类别 意图 分类")
)

// readCSV reads two columns, by their names in the first row or else the first two (RFC 4180; tabs or semicolons if the first
// line has no comma).
func readCSV(body []byte) ([]Example, error) {
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if !utf8.Valid(body) {
		return nil, problem.New(problem.Invalid, "engine.not_utf8", "the request body is not UTF-8")
	}
	c := csv.NewReader(bytes.NewReader(body))
	c.FieldsPerRecord, c.LazyQuotes, c.ReuseRecord = -1, true, true
	firstLine, _, _ := bytes.Cut(body, []byte("\n"))
	for _, sep := range "\t;" {
		if !bytes.ContainsRune(firstLine, ',') && bytes.ContainsRune(firstLine, sep) {
			c.Comma = sep
		}
	}
	text, label := 0, 1
	var out []Example
	for n := 1; ; n++ {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, problem.New(problem.Invalid, "text.bad_csv", "the CSV cannot be read at row %d; check its quotes", n).Because(err)
		}
		if n == 1 && header(row, &text, &label) {
			continue
		}
		if len(row) <= max(text, label) {
			return nil, problem.New(problem.Invalid, "text.csv_columns", "row %d of the CSV has too few columns; it needs a text and a label", n)
		}
		if len(out) == MaxExamples {
			return nil, problem.New(problem.TooLarge, "text.too_many_examples", "at most %d examples can be trained on at once", MaxExamples)
		}
		out = append(out, Example{strings.Clone(row[text]), strings.Clone(row[label])})
	}
}

// header tells whether a row names the columns, and where they are.
func header(row []string, text, label *int) bool {
	t, l := -1, -1
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(name))
		if textColumns[name] && t < 0 {
			t = i
		} else if labelColumns[name] && l < 0 {
			l = i
		}
	}
	if t < 0 || l < 0 {
		return false
	}
	*text, *label = t, l
	return true
}

// train makes a new version of a classifier.
func (e *Engine) train(ctx context.Context, r *engine.Request, w engine.Writer) error {
	t, err := parseTraining(r)
	if err != nil {
		return err
	}
	name := r.Params["classifier"]
	if err := e.store.checkRoom(ctx, r.Owner, name); err != nil {
		return err
	}
	done, err := e.training.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, report, err := Train(ctx, t.Examples, TrainOptions{Seed: uint64(t.Seed)})
	if err != nil {
		return err
	}
	v, err := e.store.add(ctx, r.Owner, name, c, report, len(t.Examples), t.Seed, t.Live == nil || *t.Live)
	if err != nil {
		return err
	}
	w.Used(engine.Units(max(1, t.chars())))
	return engine.WriteJSON(w, http.StatusCreated, struct {
		Version
		made
	}{v, made{"linear", name + "@" + strconv.FormatInt(v.Version, 10)}})
}
