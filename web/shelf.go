package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/plan"
)

// item is a product on sale.
type item struct {
	plan.Sale
	Name      string // to call it by
	Sandbox   bool   // answered by the built-in sandbox model
	Available bool   // an upstream is in service
	search    string
}

// Title is the provider's title, else the model id.
func (i *item) Title(lang string) string { return cmp.Or(i.Product.Title.In(lang), i.Product.Model) }

// Href is the path of the product's page.
func (i *item) Href() string {
	return "/products/" + url.PathEscape(i.Provider) + "/" + url.PathEscape(i.Product.Name)
}

// tryable are the capabilities that have a field to try a call, in the order in which they are offered.
var tryable = []catalog.Capability{catalog.Chat, catalog.Translate, catalog.TextCapability, catalog.Embeddings, catalog.Transcribe, catalog.Speak, catalog.Vision,
	catalog.Assist, catalog.Recommend}

// Tries are the capabilities that can be tried on the page.
func (i *item) Tries() (can []catalog.Capability) {
	for _, c := range tryable {
		if i.Available && i.Product.Can(c) {
			can = append(can, c)
		}
	}
	return can
}

// TryNames are Tries as a list of words, for the script.
func (i *item) TryNames() string { return joined(i.Tries()) }

func joined(can []catalog.Capability) string {
	var names []string
	for _, c := range can {
		names = append(names, string(c))
	}
	return strings.Join(names, " ")
}

// Facts are the ids of the texts that name the item's capabilities.
func (i *item) Facts() (ids []string) {
	for _, c := range i.Product.Capabilities {
		ids = append(ids, "capability."+string(c))
	}
	return ids
}

// Outputs are the ids of the texts that name what the item gives.
func (i *item) Outputs() (ids []string) {
	if !slices.ContainsFunc(i.Product.Capabilities, func(c catalog.Capability) bool { return c != catalog.Embeddings }) {
		return []string{"modality.vector"}
	}
	for _, m := range i.Product.Output {
		ids = append(ids, "modality."+string(m))
	}
	return ids
}

// Plan is the one that a card of the catalogue shows: the one that the first call subscribes to, else the
// first.
func (i *item) Plan() *plan.Plan {
	for _, p := range i.Plans {
		if p.AutoSubscribe {
			return p
		}
	}
	return i.Plans[0] // what is on sale has one
}

// MorePlans is how many plans a card of the catalogue leaves out.
func (i *item) MorePlans() int { return len(i.Plans) - 1 }

// Tokens reports whether a plan prices tokens.
func (i *item) Tokens() bool {
	_, tokens := i.Product.Meters()
	return tokens
}

// OpenAI reports whether OpenAI's clients call all that it can do.
func (i *item) OpenAI() bool { return openAIOnly(i.Product.Capabilities) }

// shelf keeps what is on sale, made ready to show, until the catalogue changes.
type shelf struct{ p atomic.Pointer[stock] }

type stock struct {
	of     *plan.Snapshot
	items  []*item // by name
	byPath map[[2]string]*item
	byID   map[string]*item
}

// get returns what is on sale now.
func (sh *shelf) get(b *plan.Book) *stock {
	snap := b.Snapshot()
	if st := sh.p.Load(); st != nil && st.of == snap {
		return st
	}
	st := &stock{of: snap, byPath: map[[2]string]*item{}, byID: map[string]*item{}}
	sales := b.OnSale()
	sellers, providers := map[string]int{}, map[string]bool{}
	for _, s := range sales {
		sellers[s.Product.Model]++
		providers[s.Provider] = true
	}
	for _, s := range sales {
		it := &item{Sale: s, Name: s.Provider + "/" + s.Product.Model, Available: len(s.Product.Live) > 0}
		// The bare model id, where it means this product to a caller who is subscribed to nothing.
		if first, _, _ := strings.Cut(s.Product.Model, "/"); sellers[s.Product.Model] == 1 && !(first != s.Product.Model && providers[first]) {
			it.Name = s.Product.Model
		}
		for _, v := range s.Product.Live {
			for _, t := range v.Targets {
				it.Sandbox = it.Sandbox || t.Upstream != nil && t.Upstream.URL == "builtin://sandbox"
			}
		}
		p := s.Product
		found := []string{p.Model, s.Provider, p.Name, p.Title.En, p.Title.Zh, p.Description.En, p.Description.Zh}
		for _, id := range it.Facts() {
			for _, lang := range languages {
				found = append(found, text(lang, id))
			}
		}
		it.search = strings.ToLower(strings.Join(found, "\n"))
		st.items = append(st.items, it)
		st.byPath[[2]string{s.Provider, p.Name}], st.byID[p.ID] = it, it
	}
	slices.SortFunc(st.items, func(a, b *item) int { return cmp.Compare(a.Name, b.Name) })
	sh.p.Store(st)
	return st
}

// perPage is how many products a page of the catalogue shows.
const perPage = 24

// listing is a page of the catalogue.
type listing struct {
	Items     []*item
	Total     int // on sale
	Found     int // by the search
	Providers int
	Query     string
	Can       catalog.Capability // that the reader chose; "" for all
	Facets    []facet
	Search    bool // there is enough to search
	Page      int
	Pages     int
	Prev      string
	Next      string
	Ready     bool // the platform has an operator; only told when nothing is on sale
	Demo      bool
	Samples   []sampleSet
	Trial     *trial // nil: nothing on the page can be tried
}

// facet narrows the list to a capability.
type facet struct {
	Name    string // id of its text
	Count   int    // of what the search finds
	Href    string
	Current bool
}

// trial is the field to try a call.
type trial struct {
	Items     []*item
	Kinds     []catalog.Capability // that any of them can
	Demo      bool
	Languages []string // to translate from and to
	Spoken    []string // to have texts read out in
}

// Shown reports whether the field of a kind is shown before a reader chooses.
func (t *trial) Shown(kind string) bool { return string(t.Items[0].Tries()[0]) == kind }

// Has reports whether any of the items can be tried in this way.
func (t *trial) Has(kind string) bool { return slices.Contains(t.Kinds, catalog.Capability(kind)) }

// Engines reports whether any of the items can be tried in a way other than chat.
func (t *trial) Engines() bool {
	return slices.ContainsFunc(t.Kinds, func(c catalog.Capability) bool { return c != catalog.Chat })
}

// Looks are the operations on an image that can be tried, by their paths.
func (*trial) Looks() []string {
	return []string{"ocr", "detect", "classify", "faces/detect", "moderate", "enhance", "denoise"}
}

// Lists are the lists of recommendations that can be tried, by their paths.
func (*trial) Lists() []string { return []string{"for-you", "similar", "trending", "popular"} }

// translated are the languages of the field to try a translation. The API has more.
var translated = []string{"en", "zh", "zh-Hant", "es", "fr", "de", "it", "pt", "ca", "eo", "ja", "ko", "ru"}

// spoken are the languages of the field to have a text read out.
var spoken = []string{"en", "zh", "es", "fr", "de", "it", "pt", "ca", "eo", "ko", "ru"}

// tryOut makes the field for what of the items can be tried, chat before others; nil for nothing.
func tryOut(items []*item, demo bool) *trial {
	t := &trial{Demo: demo, Languages: translated, Spoken: spoken}
	for _, it := range items {
		if len(it.Tries()) > 0 {
			t.Items = append(t.Items, it)
		}
	}
	if len(t.Items) == 0 {
		return nil
	}
	slices.SortStableFunc(t.Items, func(a, b *item) int {
		return cmp.Compare(slices.Index(tryable, a.Tries()[0]), slices.Index(tryable, b.Tries()[0]))
	})
	for _, c := range tryable {
		if slices.ContainsFunc(t.Items, func(i *item) bool { return slices.Contains(i.Tries(), c) }) {
			t.Kinds = append(t.Kinds, c)
		}
	}
	return t
}

// few is how many products the section on definitions names.
const few = 6

// Few are the first items of the page.
func (l *listing) Few() []*item { return l.Items[:min(len(l.Items), few)] }

// Rest is how many products Few leaves out.
func (l *listing) Rest() int { return l.Total - len(l.Few()) }

// list selects what a request asks for.
func (st *stock) list(r *http.Request) *listing {
	q := strings.TrimSpace(clip(r.URL.Query().Get("q"), 100))
	l := &listing{Query: q, Total: len(st.items), Search: len(st.items) > 6 || q != ""}
	if c := catalog.Capability(r.URL.Query().Get("can")); slices.Contains(catalog.Capabilities, c) {
		l.Can = c
	}
	providers, counts := map[string]bool{}, map[catalog.Capability]int{}
	var found []*item
	all := 0
	words := strings.Fields(strings.ToLower(q))
	for _, it := range st.items {
		providers[it.Provider] = true
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(it.search, w) }) {
			continue
		}
		all++
		for _, c := range it.Product.Capabilities {
			counts[c]++
		}
		if l.Can == "" || it.Product.Can(l.Can) {
			found = append(found, it)
		}
	}
	l.facets(all, counts)
	l.Providers, l.Found = len(providers), len(found)
	l.Pages = max(1, (len(found)+perPage-1)/perPage)
	l.Page, _ = strconv.Atoi(r.URL.Query().Get("page")) // 0 where it is none
	l.Page = min(max(l.Page, 1), l.Pages)
	first := (l.Page - 1) * perPage
	l.Items = found[first:min(first+perPage, len(found))]
	if l.Page > 1 {
		l.Prev = link(q, l.Can, l.Page-1)
	}
	if l.Page < l.Pages {
		l.Next = link(q, l.Can, l.Page+1)
	}
	return l
}

// facets offers the capabilities of what was found, where there are several.
func (l *listing) facets(all int, counts map[catalog.Capability]int) {
	if len(counts) < 2 && l.Can == "" {
		return
	}
	l.Facets = []facet{{"facet.all", all, link(l.Query, "", 0), l.Can == ""}}
	for _, c := range catalog.Capabilities {
		if counts[c] > 0 || c == l.Can {
			l.Facets = append(l.Facets, facet{"capability." + string(c), counts[c], link(l.Query, c, 0), c == l.Can})
		}
	}
}

// link leads to a page of the catalogue, 0 for the first.
func link(q string, can catalog.Capability, page int) string {
	v := url.Values{}
	if page > 0 {
		v.Set("page", strconv.Itoa(page))
	}
	if q != "" {
		v.Set("q", q)
	}
	if can != "" {
		v.Set("can", string(can))
	}
	return "?" + v.Encode() + "#catalogue"
}

// home serves the catalogue.
func (s *site) home(w http.ResponseWriter, r *http.Request) {
	l := s.shelf.get(s.Book).list(r)
	l.Demo = s.Demo
	if l.Total == 0 {
		var err error
		if l.Ready, err = s.SetUp(r.Context()); err != nil {
			s.Log.Error("cannot tell whether the platform is set up", "error", err)
			l.Ready = true
		}
	}
	l.Trial = tryOut(l.Items, s.Demo)
	model, can := "MODEL", catalog.Chat
	if l.Trial != nil {
		first := l.Trial.Items[0]
		model, can = first.Name, first.Tries()[0]
	}
	l.Samples = samples(s.PublicURL, model, can)
	s.show(w, r, http.StatusOK, "home", page{Title: s.text(r, "home.title"), About: s.text(r, "home.about"), Index: l.Query == "" && l.Can == "" && l.Page == 1, Body: l})
}

// listed is a product's page.
type listed struct {
	*item
	Samples  []sampleSet
	Trial    *trial
	Measured []measured
	Engines  []installed
	Related  []*item
	API      *document // nil: its definition cannot be shown
}

// product serves a product's page.
func (s *site) product(w http.ResponseWriter, r *http.Request) {
	it := s.find(r)
	if it == nil {
		s.missing(w, r)
		return
	}
	l := &listed{item: it, Samples: samples(s.PublicURL, it.Name, it.Product.Capabilities...), Trial: tryOut([]*item{it}, s.Demo),
		Measured: s.measurements(it), Engines: s.engines(it), Related: s.related(r.Context(), it)}
	var err error
	if l.API, err = s.defined.get(r.Context(), it.Product, s.Definition); err != nil {
		s.Log.Warn("a product's definition cannot be shown", "product", it.Product.ID, "error", err)
	}
	lang := language(nil, r)
	s.show(w, r, http.StatusOK, "product", page{Title: it.Title(lang), About: clip(it.Product.Description.In(lang), 160), Index: true, Body: l})
}

// maxRelated is how many other products a page names.
const maxRelated = 4

// related are the products on sale that may be needed with one.
func (s *site) related(ctx context.Context, it *item) (out []*item) {
	if s.Related == nil {
		return nil
	}
	byID := s.shelf.get(s.Book).byID
	for _, id := range s.Options.Related(ctx, it.Product.ID) {
		if other := byID[id]; other != nil && other.Product.ID != it.Product.ID && !slices.Contains(out, other) && len(out) < maxRelated {
			out = append(out, other)
		}
	}
	return out
}

// find returns the product that the path names, or nil.
func (s *site) find(r *http.Request) *item {
	return s.shelf.get(s.Book).byPath[[2]string{r.PathValue("provider"), r.PathValue("name")}]
}
