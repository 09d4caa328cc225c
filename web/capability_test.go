package web

import (
	"go/format"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/recommend"
	"github.com/tollgate-io/tollgate/internal/engine/speech"
	natural "github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
)

// routes are the patterns of all contracts by capability: "POST /v1/translate".
func routes() map[string]string {
	all := map[string]string{"POST /v1/chat/completions": "chat", "POST /v1/embeddings": "embeddings"}
	for _, r := range slices.Concat(translate.Routes(), natural.Routes(), speech.Routes(), vision.Routes(), assist.Routes(), recommend.Routes()) {
		all[r.Method+" "+r.Pattern] = r.Capability
	}
	return all
}

// TestPaths checks that every path that is told of is a route of its capability.
func TestPaths(t *testing.T) {
	all := routes()
	for _, c := range catalog.Capabilities {
		if contracts[c].about == "" || len(contracts[c].paths) == 0 {
			t.Errorf("nothing is told of %s", c)
		}
		for _, p := range contracts[c].paths {
			if all[p] != string(c) {
				t.Errorf("%s is no route of %s", p, c)
			}
		}
	}
}

var (
	samplePath = regexp.MustCompile(`(?:base ?\+ ?"|«base»|post\(")((?:/[a-z-]+)+)`)
	openAICall = regexp.MustCompile(`(?i)client\.(chat\.completions|embeddings|audio\.transcriptions|audio\.speech|images)\b`)
)

// TestSamples checks that each capability has a sample in each language, which calls its routes and no others.
func TestSamples(t *testing.T) {
	known := map[string]string{}
	for r, c := range routes() {
		_, pattern, _ := strings.Cut(r, " ")
		known[strings.NewReplacer("/v1", "", "{space}", "shop").Replace(pattern)] = c
	}
	known["/assist/sessions"] = "assist" // as far as a sample spells the path out
	for _, c := range catalog.Capabilities {
		for _, l := range sampleLanguages {
			code := string(must(sampleFiles.ReadFile("samples/" + string(c) + "." + l.id + ".txt")))
			called := openAICall.MatchString(code)
			for _, m := range samplePath.FindAllStringSubmatch(code, -1) {
				called = true
				if known[m[1]] != string(c) {
					t.Errorf("%s in %s calls %s", c, l.id, m[1])
				}
			}
			if !called || !strings.Contains(code, "TOLLGATE_KEY") || !strings.Contains(code, "«model»") && !strings.Contains(code, "«name»") {
				t.Errorf("%s in %s calls nothing, or without key or model", c, l.id)
			}
		}
		code := samples(publicURL, "m", c)[0].Samples
		if len(code) != len(sampleLanguages) {
			t.Fatalf("%s: %d samples", c, len(code))
		}
		if source := code[3].Code; string(must(format.Source([]byte(source)))) != source {
			t.Errorf("%s: the Go sample is not formatted", c)
		}
	}
}

// cards of products that the platform's own engines answer.
const (
	characterCard = "currency: USD\nlines: [{meter: characters, price: '5', per: 1000000}]"
	speechCard    = "currency: USD\nlines: [{meter: audio_seconds, price: '0.006', per: 60}, {meter: characters, price: '15', per: 1000000}]"
)

// capable sells a product of the translation engine, one of speech and one of chat.
func capable(t *testing.T) *world {
	w := demo(t)
	own := w.provider("engines")
	w.sell(own, catalog.ProductInput{Name: "translate", Title: catalog.Text{En: "Translation", Zh: "智能翻译"}, Capabilities: []catalog.Capability{catalog.Translate}},
		characterCard, "builtin://translate")
	w.sell(own, catalog.ProductInput{Name: "speech", Title: catalog.Text{En: "Speech", Zh: "语音"}, Capabilities: []catalog.Capability{catalog.Transcribe, catalog.Speak}},
		speechCard, "builtin://speech")
	w.sell(own, catalog.ProductInput{Name: "vectors", Capabilities: []catalog.Capability{catalog.Embeddings}}, plainCard, "builtin://vectors")
	w.reports = []engine.Report{
		{Family: "translate", Engine: "cc-cedict", Model: "en-zh", Version: "2026", Task: "translation en → zh", Data: "Tatoeba, English and Chinese (CC BY 2.0 FR)", Samples: 1000, Date: "2026-11-23",
			Figures: []engine.Figure{{Name: "BLEU", Value: 4.8, Floor: 4}, {Name: "median latency", Value: 0.41234, Unit: "ms"}}, Note: "Words looked up <one> by one."},
		{Family: "speech", Engine: "pocketsphinx", Version: "5", Task: "speech recognition", Data: "spoken sentences", Samples: 160, Date: "2026-11-23",
			Figures: []engine.Figure{{Name: "word accuracy", Value: 0.5, Floor: 0.55}}},
		{Family: "text", Engine: "linear", Version: "1", Task: "intent classification", Data: "banking77", Samples: 3080, Date: "2026-11-23", Figures: []engine.Figure{{Name: "accuracy", Value: 0.8634}}},
		{Family: "text", Engine: "use-lite", Version: "1", Task: "few-shot", Data: "banking77", Samples: 3080, Date: "2026-11-23", Figures: []engine.Figure{{Name: "accuracy", Value: 0.636}}},
	}
	w.engines = map[string][]engine.Info{
		"translate": {{Engine: "cc-cedict", Model: "zh-en", Version: "2026", Ready: true, Licence: "CC BY-SA 4.0"}, {Engine: "cc-cedict", Model: "en-zh", Version: "2026", Ready: true, Licence: "CC BY-SA 4.0"},
			{Engine: "apertium", Model: "pairs", Version: "3.8", Need: "scripts/install-engines translate"}},
		"vectors": {{Engine: "use-lite", Model: "use-lite", Ready: true}, {Engine: "linear", Model: "n-grams, trained by its owner", Ready: true}},
	}
	return w
}

func TestQuality(t *testing.T) {
	w := capable(t)
	page := w.page("/products/engines/translate")
	w.holds(page, "translation en → zh", ">Dictionary gloss<", "Tatoeba", "1,000 samples", "<b>4.8</b>", "floor 4", "0.4123 ms", "2026-11-23", "Words looked up &lt;one&gt; by one.",
		"Engines on this server", ">zh-en</span>, ", ">en-zh</span>", "Not installed", "<code>scripts/install-engines translate</code>", "CC BY-SA 4.0")
	w.lacks(page, "speech recognition", "banking77", "#ZgotmplZ", "%!", "below its floor")
	w.holds(w.page("/products/engines/speech"), "speech recognition", "<b>0.5</b>", "below its floor of 0.55")
	w.lacks(w.page("/products/engines/speech"), "Engines on this server", ">Dictionary gloss<")
	vectors := w.page("/products/engines/vectors")
	w.holds(vectors, "few-shot", "0.636")
	w.lacks(vectors, "intent classification", "trained by its owner")
	// What the platform's own engines do not answer has no figures of theirs.
	w.lacks(w.page("/products/acme/chat"), "h-quality")
	w.lacks(w.page("/products/acme/sandbox"), "h-quality")
	zh := w.page("/products/engines/translate?lang=zh")
	w.holds(zh, "质量与引擎", ">翻译 en → zh ", "词典释义，非翻译", "1,000 个样本", "Tatoeba，英文与中文（CC BY 2.0 FR）<br>", "下限 4", "未安装", `<span lang="en">Words looked up &lt;one&gt; by one.</span>`)
	w.lacks(zh, "#ZgotmplZ", "%!")
	w.holds(w.page("/llms.txt"), "- Measured: translation en → zh: BLEU 4.8, median latency 0.4123 ms (cc-cedict 2026, en-zh, a dictionary gloss; Tatoeba, English and Chinese (CC BY 2.0 FR), 1000 samples, 2026-11-23)",
		"- Not installed: apertium pairs\n")
}

// TestWithoutEngines is a catalogue whose pages are told nothing of engines.
func TestWithoutEngines(t *testing.T) {
	w := capable(t)
	w.pages = New(Options{Book: w.book, PublicURL: publicURL, Definition: w.definition, SetUp: w.setUp})
	w.lacks(w.page("/products/engines/translate"), "h-quality", "h-related")
	w.holds(w.page("/llms.txt"), "### translate")
}

func TestCapabilityPages(t *testing.T) {
	w := capable(t)
	home := w.page("/")
	w.holds(home, "per 1,000,000 characters", "per minute of audio", "Translation", "Speech to text", "Text to speech", `href="?can=translate#catalogue"`, `data-kinds="translate"`, `id="trysource"`, `id="tryprompt"`)
	w.lacks(home, `id="trytask"`, "#ZgotmplZ", "%!")
	w.holds(w.page("/?lang=zh"), "每 1,000,000 个字符", "每分钟音频", "翻译", "语音识别", "自动识别")
	page := w.page("/products/engines/translate")
	w.holds(page, "Call its paths.", "https://toll.example/v1/translate", "pip install requests", "x-tollgate-cost", `id="trysource"`, `<option value="zh" selected>`, "Prices are without tax.")
	w.lacks(page, `id="tryprompt"`, "Token classes", "Swap the base URL.")
	w.holds(w.page("/products/engines/translate?lang=zh"), `<option value="en" selected>英语`)
	page = w.page("/products/engines/speech")
	w.holds(page, "client.audio.transcriptions", "client.audio.speech", "Swap the base URL.", `id="s-curl"`, `id="s-speak-curl"`, "pip install openai")
	w.holds(page, `data-kinds="transcribe speak"`, `<fieldset data-kind="transcribe">`, `<fieldset data-kind="speak" hidden disabled>`)
	w.lacks(page, "Call its paths.", `id="tryimage"`)
	text := w.page("/llms.txt")
	w.holds(text, "- translate (", "metered in audio seconds): POST /v1/audio/transcriptions", "PUT /v1/recommend/spaces/{space}", "- Capabilities: transcribe, speak\n", "  - Audio: 0.006 USD per minute of audio\n")
}

func TestFacets(t *testing.T) {
	w := capable(t)
	one := w.page("/?can=transcribe")
	w.holds(one, `<a href="/products/engines/speech">`, `href="?can=transcribe#catalogue" aria-current="true"`, `href="?#catalogue"`, `content="noindex"`)
	w.holds(w.page("/?can=transcribe&q=speech"), `name="can" value="transcribe"`, `<a href="/products/engines/speech">`, `href="?can=transcribe&amp;q=speech#catalogue"`, "1 found")
	w.lacks(one, `<a href="/products/engines/translate">`)
	w.holds(w.page("/?can=vision"), "Nothing with this capability is on sale.")
	w.holds(w.page("/?can=nonsense"), `<a href="/products/acme/chat">`)
	w.holds(w.page("/?q=%E7%BF%BB%E8%AF%91"), `<a href="/products/engines/translate">`)
	w.lacks(demo(t).page("/"), `class="facets"`)
}

func TestRelated(t *testing.T) {
	w := capable(t)
	w.lacks(w.page("/products/engines/speech"), "h-related")
	for _, s := range w.book.OnSale() {
		w.related = append(w.related, s.Product.ID, s.Product.ID)
	}
	w.related = append([]string{"prd_unknown"}, w.related...)
	page := w.page("/products/engines/speech")
	w.holds(page, "You may also need")
	links := 0
	for n := range must(html.Parse(strings.NewReader(page[strings.Index(page, `id="related"`):]))).Descendants() {
		for _, a := range n.Attr {
			if a.Key == "href" && regexp.MustCompile(`^/products/[^/]+/[a-z]+$`).MatchString(a.Val) && a.Val != "/products/engines/speech" {
				links++
			}
		}
	}
	if links != 4 { // of five on sale, each once, but for itself
		t.Errorf("%d related products", links)
	}
}

// TestSeveralTries is a product of a large model that serves several contracts.
func TestSeveralTries(t *testing.T) {
	w := newWorld(t)
	w.sell(w.provider("acme"), catalog.ProductInput{Name: "all", Capabilities: []catalog.Capability{catalog.TextCapability, catalog.Translate, catalog.Chat}},
		plainCard+"  - {meter: characters, price: '5', per: 1000000}\n", remote)
	page := w.page("/products/acme/all")
	w.holds(page, `data-kinds="chat translate text"`, `<fieldset data-kind="chat">`, `<fieldset data-kind="translate" hidden disabled>`, `<fieldset data-kind="text" hidden disabled>`, "Call its paths.")
}

func TestFigure(t *testing.T) {
	for _, c := range []struct {
		value      float64
		unit, want string
	}{{0.86341, "", "0.8634"}, {86.3, "%", "86.3 %"}, {1234567, "", "1,235,000"}, {0.0000123456, "s", "0.00001235 s"}, {0, "ms", "0 ms"}, {-1, "", "-1"}, {1, "", "1"}} {
		if got := figure(c.value, c.unit); got != c.want {
			t.Errorf("%v: %q, want %q", c.value, got, c.want)
		}
	}
}

// TestReportsOfThisBuild shows every stored report.
func TestReportsOfThisBuild(t *testing.T) {
	w := capable(t)
	w.reports = must(engine.Reports())
	for _, path := range []string{"/products/engines/translate", "/products/engines/speech?lang=zh", "/llms.txt"} {
		r := httptest.NewRequest("GET", path, nil)
		rec := httptest.NewRecorder()
		w.pages.ServeHTTP(rec, r)
		if rec.Code != 200 || strings.Contains(rec.Body.String(), "%!") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	for _, r := range w.reports {
		if !slices.Contains([]string{"translate", "text", "speech", "vision", "assist", "recommend"}, r.Family) || r.Task == "" || r.Date == "" || r.Engine == "" {
			t.Errorf("a report that is not told of: %+v", r)
		}
	}
}

func TestNameOf(t *testing.T) {
	for _, c := range []struct {
		lang, name string
		want       named
	}{
		{"en", "word error rate, flite/slt", named{"word error rate, flite/slt", false}},
		{"zh", "word error rate, flite/slt", named{"词错误率，flite/slt", false}},
		{"zh", "word error rate", named{"词错误率", false}},
		{"zh", "something new", named{"something new", true}},
		{"zh", "something new, of late", named{"something new, of late", true}},
	} {
		if got := nameOf(c.lang, "figure.", c.name); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
