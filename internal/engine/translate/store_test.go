package translate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func each(t *testing.T, fn func(t *testing.T, e *Engine)) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) { fn(t, engineOn(t, d)) })
}

func TestGlossaries(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		const path = "/v1/translate/glossaries"
		g := post(t, e, path, map[string]any{"name": "products", "source": "en", "target": "zh", "terms": []Term{{"gateway", "网关"}, {"gateway", "门户"}, {"ledger", "账本"}}})
		id := g["id"].(string)
		say := func() string {
			return first(t, post(t, e, "/v1/translate", map[string]any{"text": "The gateway is good.", "source": "en", "target": "zh", "glossary": id}))["text"].(string)
		}
		if got := say(); !strings.Contains(got, "门户") {
			t.Errorf("the last of two equal terms holds: %s", got)
		}
		answer(t, e, "PATCH", path+"/"+id, "application/json", []byte(`{"name":"renamed","source":"en","target":"zh","tsv":"gateway\t网关\n"}`))
		if got := say(); !strings.Contains(got, "网关") {
			t.Error(got)
		}
		if g = answer(t, e, "GET", path+"/"+id, "", nil); g["name"] != "renamed" || len(g["dictionaries"].([]any)[0].(map[string]any)["terms"].([]any)) != 1 {
			t.Errorf("%v", g)
		}
		// another owner sees nothing of it
		for _, c := range [][2]string{{"GET", path + "/" + id}, {"DELETE", path + "/" + id}, {"PATCH", path + "/" + id}} {
			if _, err := do(e, "org_b", c[0], c[1], "application/json", []byte(`{"name":"x"}`)); problem.As(err).ID != "translate.no_glossary" {
				t.Errorf("%s by another: %v", c[0], err)
			}
		}
		if _, err := do(e, "org_b", "POST", "/v1/translate", "application/json", []byte(`{"text":"a b","source":"en","target":"zh","glossary":"`+id+`"}`)); problem.As(err).ID != "translate.no_glossary" {
			t.Errorf("use by another: %v", err)
		}
		if w, err := do(e, "org_b", "GET", path, "", nil); err != nil || strings.Contains(w.Body.String(), id) {
			t.Errorf("list of another: %s", w.Body.String())
		}
		answer(t, e, "DELETE", path+"/"+id, "", nil)
		refused(t, e, "GET", path+"/"+id, "", nil, "translate.no_glossary")
		for name, body := range map[string]string{"no name": `{"source":"en","target":"zh","terms":[]}`, "language": `{"name":"a","source":"auto","target":"zh","terms":[]}`} {
			if _, err := do(e, "org_a", "POST", path, "application/json", []byte(body)); err == nil {
				t.Error(name)
			}
		}
	})
}

// However a glossary's terms are divided, their number is bounded.
func TestGlossaryBound(t *testing.T) {
	e := newEngine(t)
	half := func(from int) Dictionary {
		d := Dictionary{Source: "en", Target: "zh"}
		for i := range maxTerms/2 + 1 {
			d.Terms = append(d.Terms, Term{fmt.Sprint("word", from+i), "词"})
		}
		return d
	}
	body, err := json.Marshal(map[string]any{"name": "large", "dictionaries": []Dictionary{half(0), half(maxTerms)}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, e, "POST", "/v1/translate/glossaries", "application/json", body, "translate.too_many_terms")
}

// A glossary for a language serves its regions, whose own terms come first; it is shown as it was stored.
func TestGlossaryOfRegions(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		const path = "/v1/translate/glossaries"
		for _, order := range [][]string{{"zh", "zh-Hant"}, {"zh-Hant", "zh"}} {
			terms := map[string][]Term{"zh": {{"gateway", "网关"}, {"ledger", "账本"}}, "zh-Hant": {{"gateway", "閘道"}}}
			var dicts []Dictionary
			for _, target := range order {
				dicts = append(dicts, Dictionary{Source: "en", Target: target, Terms: terms[target]})
			}
			id := post(t, e, path, map[string]any{"name": "regions", "dictionaries": dicts})["id"].(string)
			got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "The gateway has a ledger.", "source": "en", "target": "zh-Hant", "glossary": id}))["text"].(string)
			if !strings.Contains(got, "閘道") || !strings.Contains(got, "账本") {
				t.Error(got)
			}
			for _, d := range answer(t, e, "GET", path+"/"+id, "", nil)["dictionaries"].([]any) {
				d := d.(map[string]any)
				if n := len(terms[d["target"].(string)]); len(d["terms"].([]any)) != n || d["count"] != float64(n) {
					t.Errorf("%v", d)
				}
			}
		}
	})
}

func TestMemory(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		const path = "/v1/translate/memory"
		post(t, e, path, map[string]any{"source": "en", "target": "zh", "units": []map[string]string{
			{"source_text": "Good  morning, everyone.", "target_text": "各位早上好。"},
			{"source_text": "Your order 1234 has 5 items.", "target_text": "您的订单 1234 有 5 件商品。"},
		}})
		say := func(owner, text, memory string) Translation {
			t.Helper()
			j := &job{owner: owner, source: "en", target: "zh", format: formatText, docs: []*document{takeText(text)}, memory: memory != "off"}
			if memory == "fuzzy" {
				j.fuzzy = 0.7
			}
			all, err := e.run(t.Context(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			return all[0]
		}
		if got := say("org_a", "Good morning, everyone.", ""); got.Text != "各位早上好。" || got.Quality != qualityMemory || got.Matches[0].Score != 1 {
			t.Errorf("exact: %+v", got)
		}
		if got := say("org_a", "Good morning, everyone. Thank you.", ""); !strings.HasPrefix(got.Text, "各位早上好。") || got.Quality != qualityDictionary {
			t.Errorf("a sentence of two: %+v", got)
		}
		if got := say("org_b", "Good morning, everyone.", ""); got.Quality == qualityMemory {
			t.Error("another owner's memory was used")
		}
		if got := say("org_a", "Good morning, everyone.", "off"); got.Quality == qualityMemory {
			t.Error("the memory was used though it is off")
		}
		if got := say("org_a", "Your order 77 has 12 items.", "fuzzy"); got.Text != "您的订单 77 有 12 件商品。" || got.Matches[0].Score != 0.99 {
			t.Errorf("numbers: %+v", got)
		}
		if got := say("org_a", "Good morning, everybody.", "fuzzy"); got.Text != "各位早上好。" || got.Matches[0].Score >= 0.99 {
			t.Errorf("like: %+v", got)
		}
		if got := say("org_a", "Something else entirely is here.", "fuzzy"); got.Quality == qualityMemory {
			t.Errorf("unlike: %+v", got)
		}
		// a change shows at once, in the index too
		post(t, e, path, map[string]any{"source": "en", "target": "zh", "units": []map[string]string{{"source_text": "Good morning, everyone.", "target_text": "大家早。"}}})
		if got := say("org_a", "Good morning, everybody.", "fuzzy"); got.Text != "大家早。" {
			t.Errorf("after a change: %+v", got)
		}
		if a := answer(t, e, "GET", path+"?source=en", "", nil); len(a["units"].([]any)) != 2 || a["has_more"] != false {
			t.Errorf("%v", a)
		}
		refused(t, e, "DELETE", path, "", nil, "engine.invalid")
		if a := answer(t, e, "DELETE", path+"?text=Good+morning,+everyone.", "", nil); a["deleted"] != float64(1) {
			t.Errorf("%v", a)
		}
		if a := answer(t, e, "DELETE", path+"?all=true", "", nil); a["deleted"] != float64(1) {
			t.Errorf("%v", a)
		}
	})
}

func TestMemoryFiles(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		const path = "/v1/translate/memory"
		var b strings.Builder
		b.WriteString("source\ttarget\tsource_text\ttarget_text\n")
		for i := range 250 {
			fmt.Fprintf(&b, "en\tzh\tsentence %d \\t with <tab> & more\t第 %d 句\n", i, i)
		}
		if a := answer(t, e, "POST", path, "text/tab-separated-values", []byte(b.String())); a["units"] != float64(250) {
			t.Fatalf("%v", a)
		}
		seen, after := 0, ""
		for pages := 0; pages < 5; pages++ {
			a := answer(t, e, "GET", path+"?after="+after, "", nil)
			seen += len(a["units"].([]any))
			if after, _ = a["after"].(string); a["has_more"] != true {
				break
			}
		}
		if seen != 250 {
			t.Errorf("%d units in pages", seen)
		}
		for _, format := range []string{"tmx", "tsv"} {
			w, err := do(e, "org_a", "GET", path+"/export?format="+format, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			kind, body := upload(t, "m."+format, w.Body.Bytes())
			if _, err := do(e, "org_b", "POST", path, kind, body); err != nil {
				t.Fatal(err)
			}
			again, err := do(e, "org_b", "GET", path+"/export?format="+format, "", nil)
			if err != nil || !slices.Equal(lines(again.Body.Bytes()), lines(w.Body.Bytes())) {
				t.Errorf("%s differs after import: %v", format, err)
			}
		}
	})
}

// lines are those of a file, in the order of the alphabet: units come in the order of their owner's hashes.
func lines(file []byte) []string {
	return slices.Sorted(strings.Lines(string(file)))
}

func TestReadTMX(t *testing.T) {
	units, err := readTMX([]byte(`<?xml version="1.0"?><tmx version="1.4"><header srclang="en-US"/><body>
		<tu><tuv xml:lang="fr"><seg>un <bpt i="1">&lt;b></bpt>deux<ept i="1"/></seg></tuv><tuv xml:lang="en-us"><seg>one two</seg></tuv><tuv xml:lang="zh-CN"><seg>一二</seg></tuv></tu></body></tmx>`))
	if err != nil || len(units) != 2 || units[0] != (Unit{"one two", "un deux", "en-us", "fr"}) || units[1].Target != "一二" {
		t.Errorf("%+v %v", units, err)
	}
	for _, bad := range []string{"", "<tmx>", "hello", "<a/>", "\xff"} {
		if _, err := readTMX([]byte(bad)); problem.As(err).ID != "translate.bad_tmx" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzTMX(f *testing.F) {
	f.Add([]byte(`<tmx><header srclang="en"/><body><tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="zh"><seg>b</seg></tuv></tu></body></tmx>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if units, err := readTMX(data); err == nil {
			_, _ = checkUnits(units)
		}
		if units, err := readTSV(data, "en", "zh"); err == nil {
			_, _ = checkUnits(units)
		}
	})
}

func sealer(t testing.TB) *secret.Sealer {
	t.Helper()
	s, _, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkFuzzyMemory(b *testing.B) {
	x := &fuzzyIndex{grams: map[uint32][]int32{}}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50_000 {
		x.add(Unit{Source: prose(rng, 20), Target: "x"})
	}
	b.ReportAllocs()
	for b.Loop() {
		x.likest("The friend and the dog read a new book in the old school of the city", 0.7)
	}
}

// Pages of a memory have every unit once, whatever its languages, and a cursor of nobody's making does no harm.
func TestMemoryPages(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		want := map[Unit]bool{}
		var units []Unit
		for _, pair := range [][2]string{{"en", "zh"}, {"en", "zh-Hant"}, {"en-GB", "zh"}, {"zh", "en"}} {
			for i := range 3 {
				u := Unit{fmt.Sprint("text ", i), "译文", pair[0], pair[1]}
				units, want[u] = append(units, u), true
			}
		}
		if err := e.store.addUnits(t.Context(), "org_a", units); err != nil {
			t.Fatal(err)
		}
		for next, pages := "", 0; ; pages++ {
			list, more, err := e.store.units(t.Context(), "org_a", "", "", next, 5)
			if err != nil || pages > 2 {
				t.Fatal(pages, err)
			}
			for _, u := range list {
				if !want[u] {
					t.Errorf("%v twice, or not at all", u)
				}
				delete(want, u)
			}
			if next = more; next == "" {
				break
			}
		}
		if len(want) > 0 {
			t.Errorf("%v in no page", want)
		}
		for _, after := range []string{".", "x", "en.zh", "....", "zh.en.zzz.z"} {
			if _, _, err := e.store.units(t.Context(), "org_a", "", "", after, 5); err != nil {
				t.Errorf("%q: %v", after, err)
			}
		}
	})
}
