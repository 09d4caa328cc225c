package web

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/engine"
)

// contract is what the pages tell of a capability.
type contract struct {
	// OpenAI's clients call it, with nothing but the base URL changed.
	openAI bool
	// about says in English what it is, for programs.
	about string
	// paths are its main ones; the definition of a product has all.
	paths []string
}

// contracts are told of in the order of [catalog.Capabilities].
var contracts = map[catalog.Capability]contract{
	catalog.Chat:       {true, "chat, streaming too", []string{"POST /v1/chat/completions"}},
	catalog.Embeddings: {true, "vectors of texts", []string{"POST /v1/embeddings"}},
	catalog.Translate: {false, "texts, HTML, Markdown, JSON, subtitles, DOCX; glossaries, translation memory, speech; DeepL's and LibreTranslate's shapes too", []string{
		"POST /v1/translate", "POST /v1/translate/speech", "GET /v1/translate/languages", "GET /v1/translate/glossaries", "GET /v1/translate/memory",
		"POST /translate", "POST /v2/translate", "POST /libre/translate"}},
	catalog.TextCapability: {false, "classification by labels or trained classifiers, sentiment, summary, keywords, entities, language, similarity; generation where a larger model is connected", []string{
		"POST /v1/text/classify", "POST /v1/text/sentiment", "POST /v1/text/summarise", "POST /v1/text/keywords", "POST /v1/text/entities",
		"POST /v1/text/language", "POST /v1/text/similarity", "POST /v1/text/generate", "POST /v1/text/dialogue", "GET /v1/text/classifiers"}},
	catalog.Transcribe: {true, "speech to text, voice activity, live recognition by WebSocket", []string{
		"POST /v1/audio/transcriptions", "POST /v1/audio/translations", "POST /v1/audio/activity", "GET /v1/audio/stream"}},
	catalog.Speak: {true, "text to speech", []string{"POST /v1/audio/speech", "GET /v1/audio/voices"}},
	catalog.Vision: {false, "images classified, detected, read, moderated, enlarged, restored; faces with consented galleries", []string{
		"POST /v1/vision/classify", "POST /v1/vision/detect", "POST /v1/vision/ocr", "POST /v1/vision/moderate", "POST /v1/vision/enhance",
		"POST /v1/vision/denoise", "POST /v1/vision/restore", "POST /v1/vision/faces/detect", "POST /v1/vision/faces/verify", "GET /v1/vision/galleries"}},
	catalog.Image: {true, "images made from text", []string{"POST /v1/images/generations"}},
	catalog.Assist: {false, "bots with knowledge bases and citations, intents, queues and an agent desk, text and voice", []string{
		"GET /v1/assist/bots", "GET /v1/assist/knowledge", "POST /v1/assist/bots/{bot}/sessions", "POST /v1/assist/sessions/{session}/messages",
		"POST /v1/assist/sessions/{session}/handover", "GET /v1/assist/desk/sessions", "GET /v1/assist/bots/{bot}/voice"}},
	catalog.Recommend: {false, "items, users and events in; for you, similar, trending, popular out; experiments", []string{
		"PUT /v1/recommend/spaces/{space}", "POST /v1/recommend/spaces/{space}/items", "POST /v1/recommend/spaces/{space}/events",
		"POST /v1/recommend/spaces/{space}/for-you", "POST /v1/recommend/spaces/{space}/similar", "POST /v1/recommend/spaces/{space}/trending",
		"POST /v1/recommend/spaces/{space}/popular"}},
}

// told are the contracts that differ from what the section on calls says of chat and embeddings.
func told() (all []catalog.Capability) {
	for _, c := range catalog.Capabilities {
		if c.Meter() != "" {
			all = append(all, c)
		}
	}
	return all
}

// openAIOnly reports whether OpenAI's clients call everything that the product can do.
func openAIOnly(caps []catalog.Capability) bool {
	return !slices.ContainsFunc(caps, func(c catalog.Capability) bool { return !contracts[c].openAI })
}

// families are the families of reports by the name of the upstream that answers: builtin://name.
var families = map[string]string{"translate": "translate", "text": "text", "vectors": "text", "speech": "speech", "transcribe": "speech", "speak": "speech",
	"vision": "vision", "image": "vision", "assist": "assist", "recommend": "recommend"}

// builtins are the names of the platform's own engines that answer a product's calls now.
func builtins(p *catalog.Product) []string {
	names := map[string]bool{}
	for _, v := range p.Live {
		for _, t := range v.Targets {
			if t.Upstream == nil || t.Upstream.Dialect != catalog.Builtin {
				continue
			}
			if name := strings.TrimPrefix(t.Upstream.URL, "builtin://"); families[name] != "" {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// glossEngine is the engine whose translations are glosses: words looked up one by one.
const glossEngine = "cc-cedict"

// measured is a report as the page shows it.
type measured struct {
	engine.Report
	Gloss   bool
	Figures []reading
}

// reading is a figure of a report.
type reading struct {
	Name, Value, Floor string
	Below              bool // it misses its floor
}

// measurements are the stored reports on the engines that answer the product.
func (s *site) measurements(it *item) (out []measured) {
	if s.Reports == nil {
		return nil
	}
	names := builtins(it.Product)
	for _, r := range s.Reports() {
		if !slices.ContainsFunc(names, func(name string) bool { return families[name] == r.Family && part(name, r.Engine, r.Model) }) {
			continue
		}
		m := measured{Report: r, Gloss: r.Engine == glossEngine}
		for _, f := range r.Figures {
			rd := reading{Name: f.Name, Value: figure(f.Value, f.Unit), Below: f.Floor != 0 && f.Value < f.Floor}
			if f.Floor != 0 {
				rd.Floor = figure(f.Floor, f.Unit)
			}
			m.Figures = append(m.Figures, rd)
		}
		out = append(out, m)
	}
	return out
}

// parts are the engines of a family behind an upstream, where it is not all of them.
var parts = map[string][]string{"vectors": {"use-lite", "hashed-ngrams"}}

// part reports whether an engine, or the model that it works with, is behind the upstream.
func part(upstream, engine, model string) bool {
	names := parts[upstream]
	return names == nil || slices.ContainsFunc(names, func(n string) bool { return engine == n || strings.Contains(model, n) })
}

// installed is an engine as the page shows it, with its models of one version and state.
type installed struct {
	engine.Info
	Gloss  bool
	Models []string
}

// Few are the models if they are few enough to be shown in a line.
func (i *installed) Few() bool { return len(i.Models) <= 8 }

// engines are those that answer the product, ready or not.
func (s *site) engines(it *item) (out []installed) {
	if s.Engines == nil {
		return nil
	}
	seen := map[engine.Info]bool{}
	for _, name := range builtins(it.Product) {
		for _, info := range s.Engines(name) {
			if seen[info] || !part(name, info.Engine, "") {
				continue
			}
			seen[info] = true
			same := info
			same.Model = ""
			at := slices.IndexFunc(out, func(i installed) bool { return i.Info == same })
			if at < 0 {
				at = len(out)
				out = append(out, installed{Info: same, Gloss: info.Engine == glossEngine})
			}
			if info.Model != "" {
				out[at].Models = append(out[at].Models, info.Model)
			}
		}
	}
	return out
}

// figure writes a number of a report with four digits that count.
func figure(v float64, unit string) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		rounded = v
	}
	s := groupDigits(strconv.FormatFloat(rounded, 'f', -1, 64))
	if unit != "" {
		s += " " + unit
	}
	return s
}
