package settle

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var info = NodeInfo{Host: "host-1", Version: "test", Roles: "gateway"}

func (w *world) nodes() (list []Node) {
	w.t.Helper()
	w.ok(w.db.View(ctx, func(tx *db.Tx) (err error) { list, err = Nodes(tx); return err }))
	return list
}

func (w *world) reclaim(spool string) (sums []LeaseSum, err error) {
	err = w.db.Update(ctx, func(tx *db.Tx) (err error) { sums, err = Reclaim(tx, spool); return err })
	return sums, err
}

func TestNodes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 100e9)
		n := w.start(nodeOptions{})
		w.ok(n.settler.Beat(ctx, info, NodeRunning))
		w.ok(n.call(s, 1e9, 1000, 0))
		n.settle()
		started := w.clock.Now()
		got := w.nodes()
		if len(got) != 1 || got[0].State != NodeRunning || got[0].Epoch != 1 || got[0].NodeInfo != info || got[0].Spool != n.spool.ID() {
			t.Fatalf("%+v", got)
		}
		if diff := cmp.Diff([]LeaseSum{{Kind: "wallet", Currency: "USD", Leases: 1, Left: 1e9 - 1e6}}, got[0].Leases); diff != "" {
			t.Error(diff)
		}
		if _, err := w.reclaim(n.spool.ID()); !problem.Is(err, problem.Conflict) {
			t.Error("the leases of a running node were reclaimed:", err)
		}
		if _, err := w.reclaim("spl_none"); !problem.Is(err, problem.NotFound) {
			t.Error(err)
		}
		w.clock.Advance(NodeSilence - time.Second)
		if got := w.nodes()[0].State; got != NodeRunning {
			t.Error("too soon:", got)
		}
		w.clock.Advance(2 * time.Second)
		if got := w.nodes()[0].State; got != NodeSilent {
			t.Error(got)
		}
		w.ok(n.settler.Beat(ctx, info, NodeRunning))
		if got := w.nodes()[0]; got.State != NodeRunning || got.Started.After(started) {
			t.Errorf("%+v", got)
		}
		n.stop()
		w.ok(n.settler.Beat(ctx, info, NodeStopped))
		w.clock.Advance(24 * time.Hour)
		if got := w.nodes()[0]; got.State != NodeStopped || got.Leases != nil {
			t.Errorf("%+v", got)
		}
		if _, err := w.reclaim(n.spool.ID()); !problem.Is(err, problem.Conflict) {
			t.Error("nothing was there to reclaim:", err)
		}
		w.verified()
	})
}

// TestReclaim: the money of a dead node's leases is free again, and its spool, should it come back, is settled.
func TestReclaim(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 100_000))
		s.budgets = []string{w.budget(s.org, 50e9, "total", "UTC")}
		w.topUp(s.org, 20e9)
		dead := w.start(nodeOptions{})
		w.ok(dead.settler.Beat(ctx, info, NodeRunning))
		w.ok(dead.call(s, 2e9, 1_000_000, 0)) // 1 USD
		dead.settle()
		w.ok(dead.call(s, 15e9, 3_000_000, 0)) // 3 USD, finished and not settled
		_, err := dead.begin(s, 5e9)           // cut off
		w.ok(err)
		w.clock.Advance(NodeSilence + time.Second)

		sums, err := w.reclaim(dead.spool.ID())
		w.ok(err)
		if len(sums) != 2 || sums[0].Kind != "wallet" || sums[0].Left < 8e9 || sums[1].Kind != "budget" {
			t.Errorf("%+v", sums)
		}
		if v := w.balance(wallet(s.org)); v.Reserved != 0 || v.Balance != 19e9 {
			t.Errorf("%+v", v)
		}
		w.verified()

		// It was not dead: it settles nothing, and learns why.
		if err := dead.trySettle(); !errors.Is(err, errCursor) {
			t.Errorf("the reclaimed node settled: %v", err)
		}
		if err := dead.settler.Beat(ctx, info, NodeRunning); !errors.Is(err, ErrReclaimed) {
			t.Error(err)
		}
		dead.crash()

		// Its spool comes back: what it had finished is settled from what the wallet has.
		back := w.start(nodeOptions{dir: dead.dir})
		w.ok(back.settler.Beat(ctx, info, NodeRunning))
		if v := w.balance(wallet(s.org)); v.Reserved != 0 || v.Balance != 16e9 {
			t.Errorf("%+v", v)
		}
		if b := w.readBudget(s.budgets[0]); b.Spent != 4e9 {
			t.Errorf("%+v", b)
		}
		if got := w.nodes()[0]; got.State != NodeRunning || got.Epoch != 2 {
			t.Errorf("%+v", got)
		}
		w.ok(back.call(s, 2e9, 1000, 0))
		back.settle()
		w.verified()
	})
}

// TestReclaimedAndSpent: the money is gone when the spool comes back; its calls are in suspense.
func TestReclaimedAndSpent(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 10e9)
		dead := w.start(nodeOptions{})
		w.ok(dead.settler.Beat(ctx, info, NodeRunning))
		w.ok(dead.call(s, 8e9, 6_000_000, 0))
		w.clock.Advance(NodeSilence + time.Second)
		_, err := w.reclaim(dead.spool.ID())
		w.ok(err)
		other := w.start(nodeOptions{})
		w.ok(other.call(s, 9e9, 9_000_000, 0))
		other.settle()
		dead.crash()
		w.start(nodeOptions{dir: dead.dir})
		r, err := Verify(ctx, w.db)
		w.ok(err)
		if r.OK || r.Suspended != 1 || len(r.Faults) != 1 {
			t.Errorf("%+v", r)
		}
		if v := w.balance(wallet(s.org)); v.Balance != 1e9 {
			t.Errorf("%+v", v)
		}
	})
}
