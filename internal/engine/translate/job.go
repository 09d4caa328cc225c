package translate

import (
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxCharacters bounds the text of one call.
const maxCharacters = 300_000

// job is what one call asks for, whatever its contract.
type job struct {
	owner    string
	source   string // normalised; auto: to be identified
	target   string
	fields   [2]string // what the contract calls source and target
	format   string
	docs     []*document
	terms    []Term   // of an inline glossary
	glossary []string // ids of stored ones
	hints    hints
	engine   string // "": any
	memory   bool   // use the organisation's translation memory
	fuzzy    float64
	stream   bool
	file     bool // answer with the file itself
	name     string
}

func (j *job) characters() (n int) {
	for _, d := range j.docs {
		n += d.characters()
	}
	return n
}

// check refuses what is beyond the bounds.
func (j *job) check() error {
	if n := j.characters(); n > maxCharacters {
		return problem.New(problem.TooLarge, "translate.too_long", "the text has %d characters; at most %d are translated in one call, so split it", n, maxCharacters)
	}
	return nil
}

// Translation is the translation of one text.
type Translation struct {
	Text       string   `json:"text"`
	Source     string   `json:"source"`
	Detected   bool     `json:"detected,omitempty"`
	Confidence float64  `json:"confidence,omitempty"`
	Engine     string   `json:"engine"`
	Model      string   `json:"model,omitempty"`
	Quality    string   `json:"quality"`
	Via        string   `json:"via,omitempty"`     // the language it went through
	Ignored    []string `json:"ignored,omitempty"` // hints that had no effect
	Matches    []Match  `json:"matches,omitempty"` // what the translation memory gave

	data []byte
}

// Match is a sentence that the translation memory knew.
type Match struct {
	Source string  `json:"source"`
	Score  float64 `json:"score"` // 1: exactly
}

// piece tells of a translated sentence, for streams.
type piece struct {
	doc, index int
	text       string
	characters int
}

// run does a job. emit, if not nil, gets every sentence of a plain text, or segment of a document, in order.
func (e *Engine) run(ctx context.Context, j *job, emit func(piece) error) ([]Translation, error) {
	done, err := e.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([]Translation, 0, len(j.docs))
	for i, d := range j.docs {
		w := &work{e: e, j: j, d: d, doc: i, emit: emit}
		t, err := w.do(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return out, nil
}

// work is a document being translated.
type work struct {
	e     *Engine
	j     *job
	d     *document
	doc   int
	emit  func(piece) error
	route route
	terms *glossaryIndex
	t     Translation
	units []*unit
	known int // units that the memory gave
}

// unit is a sentence in its place.
type unit struct {
	seg  int
	s    sentence
	last bool // of its segment
	out  string
	done bool
}

func (w *work) do(ctx context.Context) (*Translation, error) {
	if err := w.prepare(ctx); err != nil {
		return nil, err
	}
	if w.t.Source == unknown || w.t.Source == w.j.target || !w.split() {
		w.t.Engine, w.t.Model, w.t.Quality = "none", "", qualityNone
		out := make([]string, len(w.d.segs))
		for i := range w.d.segs {
			out[i] = w.d.segs[i].text
		}
		return w.finish(out)
	}
	if err := w.remember(ctx); err != nil {
		return nil, err
	}
	out, err := w.translate(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case w.known < len(w.units):
	case len(w.t.Matches) > 0:
		w.t.Engine, w.t.Model, w.t.Quality, w.t.Via = "memory", "", qualityMemory, ""
	default:
		w.t.Engine, w.t.Model, w.t.Quality, w.t.Via = "glossary", "", qualityGlossary, ""
	}
	return w.finish(out)
}

func (w *work) finish(out []string) (*Translation, error) {
	data, err := w.d.build(out)
	if err != nil {
		return nil, err
	}
	w.t.data = data
	if w.j.format != formatDOCX {
		w.t.Text = string(data)
	}
	return &w.t, nil
}

// unknown is the language of a text without letters (ISO 639-2).
const unknown = "und"

// prepare finds the languages, the route and the glossary.
func (w *work) prepare(ctx context.Context) error {
	j := w.j
	w.t.Source = j.source
	if j.source == auto {
		w.t.Source, w.t.Confidence = w.e.identify(w.sample())
		w.reconsider(ctx)
		w.t.Confidence = math.Round(w.t.Confidence*1000) / 1000
		w.t.Detected = true
		if w.t.Source == "" {
			w.t.Source = unknown
		}
	}
	if w.t.Source == unknown || w.t.Source == j.target {
		return nil
	}
	if w.t.Detected && w.t.Source == "zh" && j.target == "en" && traditional(w.sample()) {
		w.t.Source = "zh-Hant" // read all the same; the caller learns what it is
	}
	if w.route = w.e.way(ctx, j, w.t.Source); w.route == nil {
		if base, _, regional := strings.Cut(j.target, "-"); regional && base != "zh" && base == w.t.Source {
			return nil
		}
		return w.e.noRoute(j, w.t.Source, w.t.Detected)
	}
	w.t.Engine, w.t.Model, w.t.Quality, w.t.Via = w.route.engine(), w.route.model(), w.route.quality(), w.route.via()
	for hint, given := range map[string]bool{"context": j.hints.context != "", "formality": j.hints.formality != ""} {
		if given && !slices.ContainsFunc(w.route, func(p pair) bool { return p.m.honours(p, hint) }) {
			w.t.Ignored = append(w.t.Ignored, hint)
		}
	}
	slices.Sort(w.t.Ignored)
	terms := slices.Clone(j.terms)
	for _, id := range j.glossary {
		stored, err := w.e.store.serving(ctx, j.owner, id, w.t.Source, j.target)
		if err != nil {
			return err
		}
		terms = append(terms, stored...)
	}
	w.terms = newGlossary(terms)
	return nil
}

// way plans how a job gets from a language to its target: by the larger model if there is one and no engine is named, and by the language
// without its region if there is nothing for that. nil: there is no way.
func (e *Engine) way(ctx context.Context, j *job, from string) route {
	if up := upstreamOf(ctx); up != nil && j.engine == "" {
		return up.route(from, j.target)
	}
	r := e.routes.find(from, j.target, j.engine)
	if base, _, regional := strings.Cut(from, "-"); r == nil && regional && base != "zh" {
		r = e.routes.find(base, j.target, j.engine)
	}
	if base, _, regional := strings.Cut(j.target, "-"); r == nil && regional && base != "zh" {
		r = e.routes.find(from, base, j.engine)
	}
	return r
}

// unsure is a confidence below which a language that was identified is no better than a likely one: a greeting of two
// words could be of several.
const unsure = 0.75

// reconsider takes a likely source for an unsure one from which there is no way, or of which next to nothing is known.
func (w *work) reconsider(ctx context.Context) {
	if w.t.Confidence >= unsure || w.t.Confidence >= 0.5 && w.e.way(ctx, w.j, w.t.Source) != nil {
		return
	}
	likely, sure := guess(w.sample())
	if likely != "" && likely != w.t.Source && (likely == w.j.target || w.e.way(ctx, w.j, likely) != nil) {
		w.t.Source, w.t.Confidence = likely, sure
	}
}

// sample is text to identify the language by.
func (w *work) sample() string {
	var b strings.Builder
	for i := range w.d.segs {
		b.WriteString(w.d.segs[i].plain(w.d.segs[i].text))
		b.WriteByte('\n')
		if b.Len() > 4000 {
			break
		}
	}
	if b.Len() < 200 {
		b.WriteString(w.j.hints.context)
	}
	return b.String()
}

func (e *Engine) identify(text string) (string, float64) {
	lang, sure := e.o.Identify(text)
	if n, ok := normal(lang); ok && n != auto {
		return n, sure
	}
	return guess(text)
}

// noPair is why there is no translation between two languages that are known here.
type noPair struct {
	from, to   string
	identified bool
	targets    []string // from from
}

func (n *noPair) Error() string { return "no pair " + n.from + "-" + n.to }

// into lists the targets that there are.
func (n *noPair) into() string { return strings.Join(n.targets, ", ") }

// noRoute tells why there is no translation from a language, which may have been identified, to a job's target.
func (e *Engine) noRoute(j *job, from string, identified bool) error {
	if j.engine != "" && j.engine != e.dict.name() && j.engine != e.apt.name() {
		return engine.Invalid("engine", "is not an engine here; GET /v1/translate/languages lists them")
	}
	if j.engine != "" && e.routes.find(from, j.target, "") != nil {
		return engine.Invalid("engine", "does not translate between these languages; leave it out, and another one does")
	}
	if pkg := knownPair(from, j.target); pkg != "" && j.engine != e.dict.name() && len(e.apt.pairs()) == 0 {
		return engine.Missing("Apertium with the package " + pkg)
	}
	for i, lang := range []string{from, j.target} {
		if base, _, _ := strings.Cut(lang, "-"); names[lang] == "" && names[base] == "" {
			return engine.Invalid(j.fields[i], "is not a language that is known here; GET /v1/translate/languages lists them")
		}
	}
	n := &noPair{from: from, to: j.target, identified: identified}
	for _, r := range e.routes.reachable() {
		if r[0].from == from {
			n.targets = append(n.targets, r[len(r)-1].to)
		}
	}
	err := problem.As(engine.NeedsUpstream("translation from " + languageName(from) + " to " + languageName(j.target)))
	if identified {
		err = err.WithField(j.fields[0], "was identified as %q; give it if it is another", from)
	}
	if len(n.targets) == 0 {
		return err.WithField(j.fields[0], "there is no translation from %q here", from).Because(n)
	}
	return err.WithField(j.fields[1], "from %q there are: %s", from, n.into()).Because(n)
}

func languageName(l string) string {
	if n := names[l]; n != "" {
		return n
	}
	return l
}

// split cuts the segments into sentences, with the glossary's terms marked. It is false if there is nothing to
// translate.
func (w *work) split() bool {
	some := false
	for i := range w.d.segs {
		s := &w.d.segs[i]
		before := len(s.tokens)
		text := w.terms.apply(s, s.text, w.d.escape)
		some = some || len(s.tokens) > before // a text of nothing but terms is translated, too
		all := s.sentences(text)
		for k, sn := range all {
			u := &unit{seg: i, s: sn, last: k == len(all)-1}
			if sn.text == "" || !hasWords(stripMarks(sn.text)) {
				u.out, u.done = sn.text, true
				w.known++
			} else {
				some = true
			}
			w.units = append(w.units, u)
		}
	}
	return some || len(w.units) > 0 && w.known < len(w.units)
}

// stripMarks removes the marks.
func stripMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if isMark(r) {
			return -1
		}
		return r
	}, s)
}

// remember takes from the translation memory what it knows.
func (w *work) remember(ctx context.Context) error {
	if !w.j.memory || w.j.owner == "" {
		return nil
	}
	keys := map[string][]*unit{}
	for _, u := range w.units {
		if s := &w.d.segs[u.seg]; !u.done && !s.hasMarkup(u.s.text) {
			k := s.plain(u.s.text)
			keys[k] = append(keys[k], u)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	sources := make([]string, 0, len(keys))
	for k := range keys {
		sources = append(sources, k)
	}
	found, err := w.e.index.lookUp(ctx, w.j.owner, w.t.Source, w.j.target, sources, w.j.fuzzy)
	if lost(err) { // a key was lost: what was remembered is, too, and the text is translated all the same
		w.e.o.Log.Warn("a translation memory cannot be opened", "organisation", w.j.owner, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, k := range sources {
		f, ok := found[k]
		if !ok {
			continue
		}
		w.t.Matches = append(w.t.Matches, Match{f.source, f.score})
		for _, u := range keys[k] {
			s := &w.d.segs[u.seg]
			if len(s.tokens) >= maxMarks {
				continue
			}
			var b strings.Builder
			s.add(&b, token{kind: term, raw: w.d.escape(f.target), text: k})
			u.out, u.done = b.String(), true
			w.known++
		}
	}
	slices.SortFunc(w.t.Matches, func(a, b Match) int { return strings.Compare(a.Source, b.Source) })
	return nil
}

// window is how many sentences go to a machine at once.
const window = 32

// translate gives the segments' translations.
func (w *work) translate(ctx context.Context) ([]string, error) {
	out := make([]strings.Builder, len(w.d.segs))
	emitted := 0
	for start := 0; start < len(w.units); start += window {
		batch := w.units[start:min(start+window, len(w.units))]
		if err := w.machines(ctx, batch); err != nil {
			return nil, err
		}
		for _, u := range batch {
			text := u.s.before + u.out + w.after(u)
			out[u.seg].WriteString(text)
			if w.emit != nil {
				s := &w.d.segs[u.seg]
				if err := w.emit(piece{w.doc, emitted, s.restore(text, w.d.escape), s.count(u.s)}); err != nil {
					return nil, err
				}
				emitted++
			}
		}
	}
	texts := make([]string, len(out))
	for i := range out {
		texts[i] = out[i].String()
	}
	return texts, nil
}

func (s *segment) count(sn sentence) int {
	c := segment{text: sn.before + sn.text + sn.after, tokens: s.tokens}
	return c.characters()
}

// after is the white space behind a sentence, as the target's script has it.
func (w *work) after(u *unit) string {
	from, to := spacelessLanguage(w.t.Source), spacelessLanguage(w.j.target)
	switch {
	case u.last:
	case to && !from && u.s.after == " ":
		return ""
	case from && !to && u.s.after == "" && u.s.text != "":
		return " "
	}
	return u.s.after
}

func spacelessLanguage(l string) bool {
	return l == "zh" || l == "zh-Hant" || l == "ja" || l == "th"
}

// machines sends the sentences that are not done through the machines of the route.
func (w *work) machines(ctx context.Context, batch []*unit) error {
	var todo []*unit
	var texts []string
	for _, u := range batch {
		if !u.done {
			todo = append(todo, u)
			texts = append(texts, u.s.text)
		}
	}
	for _, p := range w.route {
		if len(todo) == 0 {
			return nil
		}
		var err error
		if texts, err = w.hop(ctx, p, todo, texts); err != nil {
			return err
		}
	}
	for i, u := range todo {
		if u.out, u.done = texts[i], true; strings.IndexFunc(texts[i], says) < 0 { // words that the other language is thought to have no need of
			u.out = u.s.text
		}
	}
	return nil
}

// says reports whether a character tells the reader something.
func says(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsSymbol(r) || isMark(r)
}

// hop translates sentences by one machine. A sentence whose marks do not come back as they went is translated again in
// the pieces between them, which cannot lose them.
func (w *work) hop(ctx context.Context, p pair, units []*unit, texts []string) ([]string, error) {
	in := make([]input, len(units))
	for i, u := range units {
		in[i] = input{&w.d.segs[u.seg], texts[i]}
	}
	out, err := p.m.translate(ctx, p, in, w.j.hints)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i] != "" && in[i].seg.sound(in[i].text, out[i]) {
			continue
		}
		if out[i], err = w.piecewise(ctx, p, in[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *work) piecewise(ctx context.Context, p pair, in input) (string, error) {
	var pieces []input
	all := parts(in.text)
	for _, q := range all {
		if q.mark < 0 && hasWords(q.text) {
			pieces = append(pieces, input{in.seg, strings.TrimSpace(q.text)})
		}
	}
	out, err := p.m.translate(ctx, p, pieces, w.j.hints)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, q := range all {
		switch {
		case q.mark >= 0:
			b.WriteRune(mark(q.mark))
		case !hasWords(q.text):
			b.WriteString(q.text)
		default:
			t := trimmed(q.text)
			b.WriteString(t.before + stripMarks(matchCase(t.text, out[0])) + t.after)
			out = out[1:]
		}
	}
	return b.String(), nil
}

// matchCase takes back a capital that a machine gave to a piece of a sentence as if it began one.
func matchCase(in, out string) string {
	if unicode.IsLower(firstRune(in)) && unicode.IsUpper(firstRune(out)) {
		return lowerFirst(out)
	}
	return out
}
