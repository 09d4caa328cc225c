// Package settle turns usage into postings, and lends credit to the nodes that serve calls.
//
// A [Bank] holds a node's leases: parts of wallets and budgets that the database granted to it.
// A call reserves the upper bound of its cost there, in memory. A [Settler] reads the node's spool behind
// the calls and writes, in one transaction per batch: usage events, postings, what leases and budgets
// have spent, rollups, and the cursor of the spool.
//
// It does not price (the gateway and rating do), and knows no HTTP.
//
// Invariants, proved by [Verify]:
//   - each record of the spool settles exactly once: the cursor moves by compare-and-set in the
//     transaction that posts, and an event id is posted once;
//   - a call is never charged more than it held, and what is held never exceeds what was granted, so
//     that no wallet and no budget is overspent, by however many calls or nodes at once;
//   - a wallet's reservation is what its open leases have left; leases of a dead run are returned only
//     after all that it wrote is settled;
//   - a call that cannot be settled is in suspense, with the reason, where a person sees it.
package settle

import (
	"embed"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "settle", FS: files}

// count tells the metrics of a batch.
func (s *Settler) count(events int, oldest int64, took time.Duration, err error) {
	m := s.o.Metrics
	if m == nil {
		return
	}
	if err != nil {
		m.SettleErrors.Add(1)
		return
	}
	m.SettleBatches.Add(1)
	m.SettleEvents.Add(int64(events))
	if oldest > 0 {
		m.SettleLag.Set(db.Micros(s.o.Clock.Now()) - oldest)
	}
}
