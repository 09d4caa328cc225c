package telemetry

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	r := httptest.NewRecorder()
	m.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	if r.Code != 200 {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	return r.Body.String()
}

func TestScrape(t *testing.T) {
	m := NewMetrics("1.2.3")
	l := NewLines(failing{})
	l.Emit(sample())
	l.Close()
	m.Watch(l)
	e := sample()
	for i := range 16 { // over all shards
		e.ID = fmt.Sprintf("evt_%c", 'a'+i)
		m.Observe(e)
	}
	e.Stream, e.Outcome, e.TTFB, e.Duration, e.ChargeNano = false, Funds, 0, time.Millisecond, -5
	m.Observe(e)
	m.Upstream("acme").Attempt(OK, 30*time.Millisecond)
	m.Upstream("acme").Attempt(Timeout, 0)
	m.LeaseRemaining("USD").Set(1_500_000_000)
	m.SpoolOpen.Add(3)
	m.SettleLag.Set(250_000)
	m.SettleEvents.Add(7)
	m.GaugeFunc("tollgate_test", "A test.", func() float64 { return 42 })
	got := scrape(t, m)
	for _, want := range []string{
		`tollgate_requests_total{dialect="openai",outcome="ok"} 16`,
		`tollgate_requests_total{dialect="openai",outcome="funds"} 1`,
		`tollgate_tokens_total{class="input"} 1700`,
		`tollgate_tokens_total{class="reasoning"} 0`,
		`tollgate_charge_total{currency="USD"} 0.001968`,
		`gen_ai_server_request_duration_seconds_bucket{dialect="openai",stream="true",le="1.28"} 0`,
		`gen_ai_server_request_duration_seconds_bucket{dialect="openai",stream="true",le="2.56"} 16`,
		`gen_ai_server_request_duration_seconds_sum{dialect="openai",stream="true"} 32`,
		`gen_ai_server_request_duration_seconds_count{dialect="openai",stream="false"} 1`,
		`gen_ai_server_time_to_first_token_seconds_bucket{dialect="openai",stream="true",le="0.02"} 16`,
		`tollgate_upstream_attempts_total{outcome="ok",upstream="acme"} 1`,
		`tollgate_upstream_attempts_total{outcome="timeout",upstream="acme"} 1`,
		`tollgate_upstream_first_byte_seconds_count{upstream="acme"} 1`,
		`tollgate_lease_remaining{currency="USD"} 1.5`,
		`tollgate_log_lines_dropped_total 1`,
		`tollgate_spool_open 3`,
		`tollgate_settle_lag_seconds 0.25`,
		`tollgate_settle_events_total 7`,
		`tollgate_build_info{version="1.2.3"} 1`,
		`tollgate_test 42`,
		`go_goroutines `,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, `dialect="anthropic"`) || strings.Contains(got, `"other"`) {
		t.Error("series nobody moved")
	}
	for _, private := range []string{"org_1", "key_1", "vendor/big"} {
		if strings.Contains(got, private) {
			t.Errorf("%s is a label", private)
		}
	}
}

// However many upstreams are configured, and under whatever names, the series stay bounded.
func TestLabelsAreCapped(t *testing.T) {
	m := NewMetrics("test")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range maxUpstreams {
				m.Upstream(fmt.Sprintf("up-%d", (i*7+g)%(2*maxUpstreams))).Attempt(OK, 0)
			}
		})
	}
	wg.Wait()
	m.Upstream("\xff").Attempt(OK, 0)
	if n := len(*m.upstreams.all.Load()); n > maxUpstreams {
		t.Fatalf("%d labels", n)
	}
	if m.Upstream("one too many, surely") != m.Upstream("other") {
		t.Fatal("no overflow")
	}
	var total int64
	for _, u := range m.upstreams.sorted {
		total += u.attempts[OK].Load()
	}
	if total != 4*maxUpstreams+1 {
		t.Fatalf("%d attempts counted", total)
	}
	scrape(t, m)
}

func TestHistogramBounds(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-1, 0, 10 * time.Millisecond, 10*time.Millisecond + 1, time.Hour} {
		h.observe(&durationBounds, d)
	}
	if h.buckets[0].Load() != 3 || h.buckets[1].Load() != 1 || h.buckets[nBuckets].Load() != 1 {
		t.Fatal("bounds are inclusive above")
	}
}

func BenchmarkObserve(b *testing.B) {
	m := NewMetrics("test")
	e := sample()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		e := *e
		for pb.Next() {
			m.Observe(&e)
		}
	})
}
