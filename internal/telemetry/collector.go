package telemetry

import (
	"sort"

	"github.com/prometheus/client_golang/prometheus"
)

// descs describes every exported metric of ours, once. Names with the prefix gen_ai are those of the
// OpenTelemetry conventions for generative AI, written the Prometheus way.
type descs struct {
	requests, tokens, units, charge, duration, first *prometheus.Desc
	attempts, upstreamFirst, lease, dropped          *prometheus.Desc
	inFlight, holdsOpen, holdsRefused                *prometheus.Desc
	spoolBytes, spoolOpen, spoolLag                  *prometheus.Desc
	spoolSyncs, spoolErrors, spoolRecords            *prometheus.Desc
	settleBatches, settleEvents, settleErrors        *prometheus.Desc
	settleLag, uncharged                             *prometheus.Desc
}

func newDescs() descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return descs{
		requests:      d("tollgate_requests_total", "Requests finished.", "dialect", "outcome"),
		tokens:        d("tollgate_tokens_total", "Tokens metered, by disjoint class.", "class"),
		units:         d("tollgate_units_total", "What calls used that are not measured in tokens, in units of the meter.", "meter"),
		charge:        d("tollgate_charge_total", "Charges of finished requests, in units of the currency.", "currency"),
		duration:      d("gen_ai_server_request_duration_seconds", "Arrival of a request to the end of its answer.", "dialect", "stream"),
		first:         d("gen_ai_server_time_to_first_token_seconds", "Arrival of a request to the first byte of its answer.", "dialect", "stream"),
		attempts:      d("tollgate_upstream_attempts_total", "Attempts at upstreams.", "upstream", "outcome"),
		upstreamFirst: d("tollgate_upstream_first_byte_seconds", "Attempt to the first byte of the upstream's answer.", "upstream"),
		lease:         d("tollgate_lease_remaining", "Unspent credit granted to this node, in units of the currency.", "currency"),
		dropped:       d("tollgate_log_lines_dropped_total", "Request lines lost because the log was too slow or failed."),
		inFlight:      d("tollgate_requests_in_flight", "Requests being served."),
		holdsOpen:     d("tollgate_holds_open", "Holds not yet settled."),
		holdsRefused:  d("tollgate_holds_refused_total", "Holds refused for lack of money."),
		spoolBytes:    d("tollgate_spool_bytes", "Size of the spool on disk."),
		spoolOpen:     d("tollgate_spool_open", "Requests opened in the spool and not closed."),
		spoolLag:      d("tollgate_spool_unsettled_bytes", "Bytes of the spool that are not settled, about."),
		spoolSyncs:    d("tollgate_spool_syncs_total", "Times the spool was forced to disk."),
		spoolErrors:   d("tollgate_spool_errors_total", "Spool appends that failed, a full disk included."),
		spoolRecords:  d("tollgate_spool_records_total", "Records appended to the spool."),
		settleBatches: d("tollgate_settle_batches_total", "Settlement transactions committed."),
		settleEvents:  d("tollgate_settle_events_total", "Usage events settled."),
		settleErrors:  d("tollgate_settle_errors_total", "Settlement transactions that failed and are retried."),
		settleLag:     d("tollgate_settle_lag_seconds", "Age of the oldest event that is not settled."),
		uncharged:     d("tollgate_uncharged_events_total", "Events whose cost passed their hold; the excess was not charged."),
	}
}

// collector exports the atomics of Metrics at a scrape.
type collector struct{ m *Metrics }

// Describe sends nothing, which makes the collector "unchecked": label sets appear as they are used.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m, d := c.m, &c.m.d
	if fn := m.scrape.Load(); fn != nil {
		(*fn)()
	}
	c.requests(ch)
	for name, u := range m.upstreams.sorted {
		c.upstream(ch, name, u)
	}
	for name, n := range m.charge.sorted {
		if v := n.Value(); v != 0 || name != overflow {
			send(ch, d.charge, prometheus.CounterValue, float64(v)/1e9, name)
		}
	}
	for name, n := range m.units.sorted {
		if v := n.Value(); v != 0 {
			send(ch, d.units, prometheus.CounterValue, float64(v)/1e3, name)
		}
	}
	for name, n := range m.lease.sorted {
		if v := n.Value(); v != 0 || name != overflow {
			send(ch, d.lease, prometheus.GaugeValue, float64(v)/1e9, name)
		}
	}
	send(ch, d.dropped, prometheus.CounterValue, float64(m.lines.Load().Dropped()))
	for _, g := range []struct {
		desc *prometheus.Desc
		v    *Gauge
		unit float64
	}{
		{d.inFlight, &m.InFlight, 1}, {d.holdsOpen, &m.HoldsOpen, 1}, {d.spoolBytes, &m.SpoolBytes, 1},
		{d.spoolOpen, &m.SpoolOpen, 1}, {d.spoolLag, &m.SpoolLag, 1}, {d.settleLag, &m.SettleLag, 1e6},
	} {
		send(ch, g.desc, prometheus.GaugeValue, float64(g.v.Value())/g.unit)
	}
	for _, n := range []struct {
		desc *prometheus.Desc
		v    *Counter
	}{
		{d.holdsRefused, &m.HoldsRefused}, {d.spoolSyncs, &m.SpoolSyncs}, {d.spoolErrors, &m.SpoolErrors},
		{d.spoolRecords, &m.SpoolRecords}, {d.settleBatches, &m.SettleBatches}, {d.settleEvents, &m.SettleEvents},
		{d.settleErrors, &m.SettleErrors}, {d.uncharged, &m.Uncharged},
	} {
		send(ch, n.desc, prometheus.CounterValue, float64(n.v.Value()))
	}
}

// requests sums the shards of each dialect.
func (c collector) requests(ch chan<- prometheus.Metric) {
	d := &c.m.d
	var tokens [NClasses]int64
	for dialect := range nDialects {
		var outcomes [nOutcomes]int64
		var seen int64
		for stream := range 2 {
			var duration, first sum
			for s := range shards {
				cell := &c.m.cells[s][dialect][stream]
				for o := range outcomes {
					n := cell.outcomes[o].Load()
					outcomes[o] += n
					seen += n
				}
				for t := range tokens {
					tokens[t] += cell.tokens[t].Load()
				}
				duration.add(&cell.duration)
				first.add(&cell.ttfb)
			}
			label := [...]string{"false", "true"}[stream]
			duration.send(ch, d.duration, &durationBounds, dialect.String(), label)
			first.send(ch, d.first, &firstBounds, dialect.String(), label)
		}
		if seen == 0 && dialect != OpenAI {
			continue // dialects that nobody speaks would only be noise
		}
		for o, n := range outcomes {
			send(ch, d.requests, prometheus.CounterValue, float64(n), dialect.String(), Outcome(o).String())
		}
	}
	for t, n := range tokens {
		send(ch, d.tokens, prometheus.CounterValue, float64(n), Class(t).String())
	}
}

func (c collector) upstream(ch chan<- prometheus.Metric, name string, u *Upstreams) {
	for o := range u.attempts {
		if n := u.attempts[o].Load(); n != 0 {
			send(ch, c.m.d.attempts, prometheus.CounterValue, float64(n), name, Outcome(o).String())
		}
	}
	var first sum
	first.add(&u.first)
	first.send(ch, c.m.d.upstreamFirst, &firstBounds, name)
}

func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
}

// sum adds up histograms of the same bounds.
type sum struct {
	buckets [nBuckets + 1]int64
	micros  int64
}

func (s *sum) add(h *histogram) {
	for i := range h.buckets {
		s.buckets[i] += h.buckets[i].Load()
	}
	s.micros += h.micros.Load()
}

// send exports s, unless it is empty.
func (s *sum) send(ch chan<- prometheus.Metric, d *prometheus.Desc, b *bounds, labels ...string) {
	cumulative := make(map[float64]uint64, nBuckets)
	var n int64
	for i, bound := range b {
		n += s.buckets[i]
		cumulative[bound.Seconds()] = uint64(n)
	}
	n += s.buckets[nBuckets]
	if n == 0 {
		return
	}
	ch <- prometheus.MustNewConstHistogram(d, uint64(n), float64(s.micros)/1e6, cumulative, labels...)
}

// sorted ranges over the set by label.
func (s *labelled[T]) sorted(yield func(string, *T) bool) {
	m := s.all.Load()
	if m == nil {
		return
	}
	names := make([]string, 0, len(*m))
	for name := range *m {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if !yield(name, (*m)[name]) {
			return
		}
	}
}
