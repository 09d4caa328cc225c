package telemetry

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Counter is a number that only grows. Its zero value is ready; safe for concurrent use.
type Counter struct{ v atomic.Int64 }

// Add adds n, which must not be negative.
func (c *Counter) Add(n int64) { c.v.Add(n) }

// Value returns the count.
func (c *Counter) Value() int64 { return c.v.Load() }

// Gauge is a number that goes up and down. Its zero value is ready; safe for concurrent use.
type Gauge struct{ v atomic.Int64 }

// Set replaces the value.
func (g *Gauge) Set(n int64) { g.v.Store(n) }

// Add adds n.
func (g *Gauge) Add(n int64) { g.v.Add(n) }

// Value returns the value.
func (g *Gauge) Value() int64 { return g.v.Load() }

const (
	maxUpstreams  = 1024 // upstreams with a label of their own
	maxCurrencies = 64
	shards        = 8 // copies of the counters of a request, so that cores seldom share a cache line
	overflow      = "other"
)

// Metrics is the registry and the handles of every metric, resolved once. The rooms hold the handles
// they move; a nil *Metrics must not be used. Safe for concurrent use.
type Metrics struct {
	Registry *prometheus.Registry

	InFlight Gauge // requests being served

	// Holds and leases of this node (settle).
	HoldsOpen    Gauge   // holds not yet settled
	HoldsRefused Counter // holds that found no money

	// Spool of this node.
	SpoolBytes   Gauge   // on disk
	SpoolOpen    Gauge   // OPEN without CLOSE
	SpoolLag     Gauge   // bytes of records that are not settled
	SpoolSyncs   Counter // fdatasync calls
	SpoolErrors  Counter // appends refused, full disk included
	SpoolRecords Counter // records appended

	// Settlement.
	SettleBatches Counter
	SettleEvents  Counter
	SettleErrors  Counter
	SettleLag     Gauge // microseconds between the oldest unsettled CLOSE and now
	Uncharged     Counter

	cells     [shards][nDialects][2]cell
	upstreams labelled[Upstreams]
	charge    labelled[Counter]
	units     labelled[Counter]
	lease     labelled[Gauge]
	lines     atomic.Pointer[Lines]
	scrape    atomic.Pointer[func()]
	d         descs
}

// cell holds what one request touches, side by side in memory.
type cell struct {
	outcomes [nOutcomes]atomic.Int64
	tokens   [NClasses]atomic.Int64
	duration histogram
	ttfb     histogram
	_        [64]byte
}

// Upstreams are the metrics of one upstream.
type Upstreams struct {
	attempts [nOutcomes]atomic.Int64
	first    histogram
}

// Attempt counts one attempt and, when it got that far, its time to the first byte of the answer.
func (u *Upstreams) Attempt(o Outcome, firstByte time.Duration) {
	u.attempts[min(o, Failed)].Add(1)
	if firstByte > 0 {
		u.first.observe(&firstBounds, firstByte)
	}
}

// NewMetrics returns metrics on a registry of their own, with those of the Go runtime and the process.
func NewMetrics(version string) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), d: newDescs()}
	m.upstreams.max, m.charge.max, m.units.max, m.lease.max = maxUpstreams, maxCurrencies, maxCurrencies, maxCurrencies
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tollgate_build_info", Help: "Version of the running binary.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.Registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, collector{m})
	return m
}

// Handler serves the metrics in the Prometheus formats. Who may read them is for the server to say.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Watch makes the dropped lines of l part of the metrics.
func (m *Metrics) Watch(l *Lines) { m.lines.Store(l) }

// OnScrape has fn run before each scrape, to set gauges that are not worth being kept up to date. It may run
// concurrently with itself.
func (m *Metrics) OnScrape(fn func()) { m.scrape.Store(&fn) }

// GaugeFunc adds a gauge that is read at each scrape. name and help as Prometheus asks; a name used
// twice panics, being a broken invariant of the program.
func (m *Metrics) GaugeFunc(name, help string, read func() float64) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// CounterFunc adds a counter that is read at each scrape, likewise.
func (m *Metrics) CounterFunc(name, help string, read func() float64) {
	m.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// Upstream returns the handles of the upstream called name, made on first use. Beyond 1024 names it
// is the shared one called "other". Resolve it once, when the upstream is configured.
func (m *Metrics) Upstream(name string) *Upstreams { return m.upstreams.get(name) }

// LeaseRemaining returns the gauge of unspent credit granted to this node in currency, in nano-units.
func (m *Metrics) LeaseRemaining(currency string) *Gauge { return m.lease.get(currency) }

// Observe counts a finished request: by outcome, its tokens, charge, duration and time to the first
// byte. Call it once for each request. Negative charges (price corrections) are not counted here.
func (m *Metrics) Observe(e *Event) {
	s := 0
	if n := len(e.ID); n > 0 {
		s = int(e.ID[n-1]) % shards
	}
	stream := 0
	if e.Stream {
		stream = 1
	}
	c := &m.cells[s][min(e.Dialect, nDialects-1)][stream]
	c.outcomes[min(e.Outcome, Failed)].Add(1)
	for i := range e.Tokens {
		if n := e.Tokens[i]; n > 0 {
			c.tokens[i].Add(n)
		}
	}
	c.duration.observe(&durationBounds, e.Duration)
	if e.TTFB > 0 {
		c.ttfb.observe(&firstBounds, e.TTFB)
	}
	if e.Units > 0 && e.Meter != "" {
		m.units.get(e.Meter).Add(e.Units)
	}
	if e.ChargeNano > 0 {
		m.charge.get(e.Currency).Add(e.ChargeNano)
	}
}

// nBuckets is the number of finite bounds of the histograms.
const nBuckets = 14

type bounds [nBuckets]time.Duration

// The bounds that the OpenTelemetry conventions for generative AI advise for
// gen_ai.server.request.duration and gen_ai.server.time_to_first_token (of the latter's sixteen, the
// two under 5 ms and the one at 60 ms are left out, and 30 s added for slow reasoning models).
var (
	durationBounds = millis(10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 81920)
	firstBounds    = millis(5, 10, 20, 40, 80, 100, 250, 500, 750, 1000, 2500, 5000, 10000, 30000)
)

func millis(ms ...int) (b bounds) {
	for i := range b {
		b[i] = time.Duration(ms[i]) * time.Millisecond
	}
	return b
}

// histogram counts durations by bucket. The observation is two atomic additions.
type histogram struct {
	buckets [nBuckets + 1]atomic.Int64 // the last is +Inf
	micros  atomic.Int64
}

func (h *histogram) observe(b *bounds, d time.Duration) {
	i := 0
	for i < nBuckets && d > b[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.micros.Add(int64(d / time.Microsecond))
}

// labelled is a capped set of T by label value, read without a lock.
type labelled[T any] struct {
	mu  sync.Mutex
	max int
	all atomic.Pointer[map[string]*T]
}

func (s *labelled[T]) get(name string) *T {
	if m := s.all.Load(); m != nil {
		if v := (*m)[name]; v != nil {
			return v
		}
		if len(*m) >= s.max {
			return (*m)[overflow]
		}
	}
	return s.add(name)
}

func (s *labelled[T]) add(name string) *T {
	if !utf8.ValidString(name) {
		name = overflow // Prometheus takes no other labels
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*T{overflow: new(T)}
	if m := s.all.Load(); m != nil {
		if v := (*m)[name]; v != nil {
			return v
		}
		if len(*m) >= s.max {
			return (*m)[overflow]
		}
		for k, v := range *m {
			next[k] = v
		}
	}
	if next[name] == nil {
		next[strings.Clone(name)] = new(T) // the caller's string may be pooled memory
	}
	s.all.Store(&next)
	return next[name]
}
