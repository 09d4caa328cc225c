package web

import (
	"cmp"
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

// Chat reports whether a call can be tried on the page.
func (i *item) Chat() bool { return i.Product.Can(catalog.Chat) }

// Facts are the ids of the texts that name the item's capabilities.
func (i *item) Facts() (ids []string) {
	for _, c := range i.Product.Capabilities {
		ids = append(ids, "capability."+string(c))
	}
	return ids
}

// Outputs are the ids of the texts that name what the item gives.
func (i *item) Outputs() (ids []string) {
	if !i.Chat() {
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

// Alone is the item as a list.
func (i *item) Alone() []*item { return []*item{i} }

// shelf keeps what is on sale, made ready to show, until the catalogue changes.
type shelf struct{ p atomic.Pointer[stock] }

type stock struct {
	of     *plan.Snapshot
	items  []*item // by name
	byPath map[[2]string]*item
}

// get returns what is on sale now.
func (sh *shelf) get(b *plan.Book) *stock {
	snap := b.Snapshot()
	if st := sh.p.Load(); st != nil && st.of == snap {
		return st
	}
	st := &stock{of: snap, byPath: map[[2]string]*item{}}
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
		it.search = strings.ToLower(strings.Join([]string{p.Model, s.Provider, p.Name, p.Title.En, p.Title.Zh, p.Description.En, p.Description.Zh}, "\n"))
		st.items = append(st.items, it)
		st.byPath[[2]string{s.Provider, p.Name}] = it
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
	Search    bool // there is enough to search
	Page      int
	Pages     int
	Prev      string
	Next      string
	Ready     bool // the platform has an operator; only told when nothing is on sale
	Demo      bool
	Samples   []sample
}

// Callable are the items of the page that can be tried.
func (l *listing) Callable() []*item {
	return slices.DeleteFunc(slices.Clone(l.Items), func(i *item) bool { return !i.Chat() || !i.Available })
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
	providers := map[string]bool{}
	var found []*item
	words := strings.Fields(strings.ToLower(q))
	for _, it := range st.items {
		providers[it.Provider] = true
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(it.search, w) }) {
			found = append(found, it)
		}
	}
	l.Providers, l.Found = len(providers), len(found)
	l.Pages = max(1, (len(found)+perPage-1)/perPage)
	l.Page, _ = strconv.Atoi(r.URL.Query().Get("page")) // 0 where it is none
	l.Page = min(max(l.Page, 1), l.Pages)
	first := (l.Page - 1) * perPage
	l.Items = found[first:min(first+perPage, len(found))]
	if l.Page > 1 {
		l.Prev = link(q, l.Page-1)
	}
	if l.Page < l.Pages {
		l.Next = link(q, l.Page+1)
	}
	return l
}

func link(q string, page int) string {
	v := url.Values{"page": {strconv.Itoa(page)}}
	if q != "" {
		v.Set("q", q)
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
	model := "MODEL"
	if c := l.Callable(); len(c) > 0 {
		model = c[0].Name
	}
	l.Samples = samples(s.PublicURL, model, false)
	s.show(w, r, http.StatusOK, "home", page{Title: s.text(r, "home.title"), About: s.text(r, "home.about"), Index: l.Query == "" && l.Page == 1, Body: l})
}

// listed is a product's page.
type listed struct {
	*item
	Samples []sample
	Demo    bool
	API     *document // nil: its definition cannot be shown
}

// product serves a product's page.
func (s *site) product(w http.ResponseWriter, r *http.Request) {
	it := s.find(r)
	if it == nil {
		s.missing(w, r)
		return
	}
	l := &listed{item: it, Demo: s.Demo, Samples: samples(s.PublicURL, it.Name, !it.Chat())}
	var err error
	if l.API, err = s.defined.get(r.Context(), it.Product, s.Definition); err != nil {
		s.Log.Warn("a product's definition cannot be shown", "product", it.Product.ID, "error", err)
	}
	lang := language(nil, r)
	s.show(w, r, http.StatusOK, "product", page{Title: it.Title(lang), About: clip(it.Product.Description.In(lang), 160), Index: true, Body: l})
}

// find returns the product that the path names, or nil.
func (s *site) find(r *http.Request) *item {
	return s.shelf.get(s.Book).byPath[[2]string{r.PathValue("provider"), r.PathValue("name")}]
}
