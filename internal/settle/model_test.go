package settle

import (
	"flag"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// TestMain makes the model test shorter than rapid's own default, unless -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "40"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// rapidTB reports to rapid, so that it can shrink a failure.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (r rapidTB) Helper()                   { r.rt.Helper() }
func (r rapidTB) Fatal(a ...any)            { r.rt.Fatal(a...) }
func (r rapidTB) Fatalf(f string, a ...any) { r.rt.Fatalf(f, a...) }
func (r rapidTB) Error(a ...any)            { r.rt.Error(a...) }
func (r rapidTB) Errorf(f string, a ...any) { r.rt.Errorf(f, a...) }
func (r rapidTB) Log(a ...any)              { r.rt.Log(a...) }

// buyer is an organisation as the model sees it.
type buyer struct {
	sales    []sale // of one organisation: a card each
	deposits int64
	limit    int64   // of its budget
	charged  int64   // by calls on the final card, and by those on the stateful card before the last crash or stop
	held     int64   // by calls under way
	input    []int64 // tokens on each sale's subscription
}

// pending is a call under way.
type pending struct {
	*call
	b        *buyer
	sale     int
	node     int
	progress int64 // input tokens that its slot says
}

// model runs a few nodes on one database and knows what must come of it.
type model struct {
	w        *world
	buyers   []*buyer
	nodes    []*node
	calls    []*pending
	events   int
	stateful bool // the sales' card needs the period's total
}

// TestModel: whatever calls, crashes, recoveries, top-ups and returns come in whatever order on several nodes: what is
// charged is what was used, each call once; nothing is overspent; and in the end nothing is held.
func TestModel(t *testing.T) {
	worlds := map[string]*world{}
	for name, dsn := range engines {
		worlds[name] = openWorld(t, dsn(t))
	}
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		w := worlds[rapid.SampledFrom([]string{"sqlite", "postgres"}).Draw(rt, "engine")]
		w.t = rapidTB{t, rt}
		defer func() { w.t = t }()
		m := newModel(rt, w, dir)
		defer func() {
			for _, n := range m.nodes {
				n.spool.Close()
				os.RemoveAll(n.dir)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"begin":    m.begin,
			"end":      m.end,
			"fail":     m.fail,
			"progress": m.progressed,
			"settle":   func(rt *rapid.T) { m.node(rt).settle() },
			"step": func(rt *rapid.T) {
				n := m.node(rt)
				if n.settler.pos.Before(n.spool.Written()) {
					_, err := n.settler.step(ctx)
					w.ok(err)
				}
			},
			"give back": func(rt *rapid.T) {
				n, all := m.node(rt), rapid.Bool().Draw(rt, "all")
				for _, p := range n.bank.all() {
					w.ok(n.bank.giveBack(ctx, p, all))
				}
			},
			"time": func(rt *rapid.T) {
				w.clock.Advance(time.Duration(rapid.IntRange(0, 6000).Draw(rt, "ms")) * time.Millisecond)
				for _, n := range m.nodes {
					n.bank.tick.Store(db.Micros(w.clock.Now()))
					n.bank.follow()
				}
			},
			"top up": func(rt *rapid.T) {
				b := rapid.SampledFrom(m.buyers).Draw(rt, "buyer")
				amount := rapid.Int64Range(1, 3_000_000).Draw(rt, "amount")
				w.topUp(b.sales[0].org, amount)
				b.deposits += amount
			},
			"crash":   func(rt *rapid.T) { m.crash(rt, rapid.IntRange(0, 2).Draw(rt, "without recovery")) },
			"restart": m.restart,
			"seal": func(*rapid.T) {
				_, err := ledger.New(w.db, w.clock).Seal(ctx)
				w.ok(err)
			},
			"": m.check,
		})
		m.finish()
	})
}

func newModel(rt *rapid.T, w *world, dir string) *model {
	m := &model{w: w, stateful: rapid.Bool().Draw(rt, "stateful")}
	card := finalCard
	if m.stateful {
		card = rapid.SampledFrom([]string{graduatedCard, volumeCard, allowanceCard}).Draw(rt, "card")
	}
	plan := w.plan(card, rapid.Int64Range(0, 1_000_000).Draw(rt, "commission"))
	for range rapid.IntRange(1, 2).Draw(rt, "buyers") {
		b := &buyer{limit: rapid.Int64Range(0, 10_000_000).Draw(rt, "limit"), input: make([]int64, 2)}
		first := w.sale(plan)
		first.budgets = []string{w.budget(first.org, b.limit, "total", "UTC")}
		second := w.sale(plan, first.budgets...)
		second.org = first.org
		b.sales = []sale{first, second}
		if b.deposits = rapid.Int64Range(0, 10_000_000).Draw(rt, "deposit"); b.deposits > 0 {
			w.topUp(first.org, b.deposits)
		}
		m.buyers = append(m.buyers, b)
	}
	for range rapid.IntRange(1, 3).Draw(rt, "nodes") {
		sub, err := os.MkdirTemp(dir, "")
		w.ok(err)
		m.nodes = append(m.nodes, w.start(m.options(rt, sub)))
	}
	return m
}

func (m *model) options(rt *rapid.T, dir string) nodeOptions {
	return nodeOptions{dir: dir, batch: rapid.IntRange(1, 5).Draw(rt, "batch"),
		bank: BankOptions{MinLease: rapid.Int64Range(1, 5_000_000).Draw(rt, "lease")}}
}

func (m *model) node(rt *rapid.T) *node { return rapid.SampledFrom(m.nodes).Draw(rt, "node") }

func (m *model) begin(rt *rapid.T) {
	b := rapid.SampledFrom(m.buyers).Draw(rt, "buyer")
	sale, at := rapid.IntRange(0, 1).Draw(rt, "sale"), rapid.IntRange(0, len(m.nodes)-1).Draw(rt, "node")
	hold := rapid.Int64Range(1000, 4_000_000).Draw(rt, "hold")
	c, err := m.nodes[at].begin(b.sales[sale], hold)
	if err != nil {
		if !problem.Is(err, problem.Funds) {
			rt.Fatal(err)
		}
		return
	}
	b.held += hold
	m.calls = append(m.calls, &pending{call: c, b: b, sale: sale, node: at})
}

// take removes a pending call.
func (m *model) take(rt *rapid.T) *pending {
	if len(m.calls) == 0 {
		rt.Skip("no call under way")
	}
	i := rapid.IntRange(0, len(m.calls)-1).Draw(rt, "call")
	c := m.calls[i]
	m.calls = append(m.calls[:i], m.calls[i+1:]...)
	return c
}

// used notes what a call came to.
func (m *model) used(c *pending, input int64) {
	m.events++
	c.b.held -= c.rec.Hold
	c.b.input[c.sale] += input
	if !m.stateful {
		c.b.charged += min(1000*input, c.rec.Hold)
	}
}

func (m *model) end(rt *rapid.T) {
	c := m.take(rt)
	most := int64(5000) // above some holds
	if m.stateful {
		most = c.rec.Hold / 1000
	}
	input := rapid.Int64Range(0, most).Draw(rt, "input")
	c.call.end(input, 0)
	m.used(c, input)
}

func (m *model) fail(rt *rapid.T) {
	c := m.take(rt)
	c.call.fail()
	m.used(c, 0)
}

func (m *model) progressed(rt *rapid.T) {
	if len(m.calls) == 0 {
		rt.Skip("no call under way")
	}
	c := rapid.SampledFrom(m.calls).Draw(rt, "call")
	c.progress = rapid.Int64Range(0, c.rec.Hold/1000).Draw(rt, "input")
	c.n.spool.Progress(&c.rec, &spool.Progress{Charge: 1000 * c.progress, Usage: [spool.Classes]int64{c.progress}})
}

// crash ends a node with its calls under way, and starts it again: maybe to crash once more before it has recovered.
func (m *model) crash(rt *rapid.T, unrecovered int) {
	at := rapid.IntRange(0, len(m.nodes)-1).Draw(rt, "node")
	m.nodes[at].crash()
	for range unrecovered {
		m.w.open(m.options(rt, m.nodes[at].dir)).crash()
	}
	m.nodes[at] = m.w.start(m.options(rt, m.nodes[at].dir))
	var rest []*pending
	for _, c := range m.calls {
		if c.node == at {
			m.used(c, c.progress)
		} else {
			rest = append(rest, c)
		}
	}
	m.calls = rest
}

// restart ends a node in order, once its calls have ended.
func (m *model) restart(rt *rapid.T) {
	at := rapid.IntRange(0, len(m.nodes)-1).Draw(rt, "node")
	for _, c := range m.calls {
		if c.node == at {
			rt.Skip("calls under way")
		}
	}
	m.nodes[at].stop()
	m.nodes[at] = m.w.start(m.options(rt, m.nodes[at].dir))
}

// check holds after every step.
func (m *model) check(rt *rapid.T) {
	for _, n := range m.nodes {
		n.check()
	}
	for _, b := range m.buyers {
		if spent := b.charged + b.held; spent > b.deposits || spent > b.limit {
			rt.Fatalf("%d charged and held of %d, budget %d", spent, b.deposits, b.limit)
		}
	}
}

// finish ends everything and compares.
func (m *model) finish() {
	w := m.w
	for _, c := range m.calls {
		c.call.end(0, 0)
		m.used(c, 0)
	}
	for _, n := range m.nodes {
		n.stop()
	}
	w.verified()
	events := 0
	for _, b := range m.buyers {
		var charged, positive int64
		list := w.events(b.sales[0].org)
		for _, e := range list {
			charged += e.Charge
			positive += max(e.Charge, 0)
		}
		events += len(list)
		want := b.charged
		if m.stateful {
			want = 0
			for i, s := range b.sales {
				want += m.cost(s, b.input[i])
			}
		}
		v := w.balance(wallet(b.sales[0].org))
		if charged != want || v.Balance != b.deposits-want || v.Reserved != 0 {
			w.t.Fatalf("charged %d, want %d; wallet %d of %d, %d held", charged, want, v.Balance, b.deposits, v.Reserved)
		}
		if g := w.readBudget(b.sales[0].budgets[0]); g.Spent != positive || g.Held != 0 || g.Spent > b.limit {
			w.t.Fatalf("budget %+v, %d was spent of %d", g, positive, b.limit)
		}
		m.rest(b, v.Balance, b.limit-positive)
	}
	if events != m.events {
		w.t.Fatalf("%d events, want %d", events, m.events)
	}
}

// cost is what a subscription comes to, from its total alone.
func (m *model) cost(s sale, input int64) int64 {
	switch m.w.cards[s.plan] {
	case graduatedCard:
		return 1000*min(input, 1000) + 500*max(input-1000, 0)
	case volumeCard:
		if input > 1000 {
			return 100 * input
		}
	case allowanceCard:
		return 1000 * max(input-500, 0)
	}
	return 1000 * input
}

// rest: exactly what is left can be held, and not one unit more.
func (m *model) rest(b *buyer, money, budget int64) {
	bank := NewBank(m.w.db, BankOptions{Spool: m.nodes[0].spool.ID(), Epoch: m.nodes[0].spool.Epoch(), Clock: clock.NewManual(m.w.clock.Now())})
	left := min(money, budget)
	var h, more Hold
	if err := bank.Take(ctx, &h, b.sales[0].org, "USD", b.sales[0].budgets, left); err != nil {
		m.w.t.Fatalf("%d is left, but cannot be held: %v", left, err)
	}
	if err := bank.Take(ctx, &more, b.sales[0].org, "USD", b.sales[0].budgets, 1); !problem.Is(err, problem.Funds) {
		m.w.t.Fatalf("more than the %d left could be held: %v", left, err)
	}
	bank.Finish(&h, 0)
	m.w.ok(bank.Stop(ctx))
}
