package settle

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

// BenchmarkSettle settles batches of 1000 calls of 100 organisations at ten providers, every second one
// under a budget, with commission and rollups, each batch in a transaction that is synced to disk.
func BenchmarkSettle(b *testing.B) {
	for name, dsn := range engines {
		b.Run(name, func(b *testing.B) {
			dsn := dsn(b)
			d, err := db.Open(ctx, dsn, db.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { d.Close() })
			if err := d.Migrate(ctx, sets...); err != nil {
				b.Fatal(err)
			}
			w := newWorld(b, dsn, d, clock.NewManual(noon))
			plan := w.plan(finalCard, 150_000)
			sales := make([]sale, 200)
			for i := range sales {
				sales[i] = w.sale(plan)
				if i >= 100 {
					sales[i].org = sales[i-100].org
				}
				if i >= 10 {
					sales[i].provider = sales[i%10].provider
				}
				if i < 100 {
					w.topUp(sales[i].org, 1e15)
				}
				if i%2 == 0 {
					sales[i].budgets = []string{w.budget(sales[i].org, 1e15, "month", "Asia/Shanghai")}
				}
			}
			n := w.start(nodeOptions{seg: 16 << 20})
			batch := func(k int) {
				for i := range 1000 {
					if err := n.call(sales[(7*i+k)%len(sales)], 1_000_000, 100, int64(50+i%7)); err != nil {
						b.Fatal(err)
					}
				}
			}
			batch(0)
			n.settle()
			events, cpu, best := 0, time.Duration(0), time.Hour
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				batch(events)
				before := cpuTime(b)
				b.StartTimer()
				began := time.Now()
				n.settle()
				best = min(best, time.Since(began))
				cpu += cpuTime(b) - before
				events += 1000
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(events), "cpu-ns/event") // of this process
			b.ReportMetric(1000/best.Seconds(), "best-events/s")                       // of the fastest batch: what an idle machine does
			b.ReportMetric(0, "ns/op")
			b.StopTimer()
			w.verified()
		})
	}
}

// cpuTime is what this process has used; less noisy than the clock on a machine that is shared.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHold takes and ends holds of a wallet alone, and of a wallet under two budgets.
func BenchmarkHold(b *testing.B) {
	w := openWorld(b, dbtest.SQLiteDSN(b))
	s := w.sale(db.NewUUID(noon))
	w.topUp(s.org, 1e15)
	for _, budgets := range [][]string{nil, {w.budget(s.org, 1e15, "month", "UTC"), w.budget(s.org, 1e15, "total", "UTC")}} {
		b.Run(fmt.Sprintf("budgets=%d", len(budgets)), func(b *testing.B) {
			n := w.start(nodeOptions{})
			var h Hold
			b.ReportAllocs()
			for b.Loop() {
				if err := n.bank.Take(ctx, &h, s.org, "USD", budgets, 1000); err != nil {
					b.Fatal(err)
				}
				n.bank.Finish(&h, 0)
			}
		})
	}
}
