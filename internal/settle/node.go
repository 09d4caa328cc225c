package settle

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The states of a node.
const (
	NodeRunning   = "running"
	NodeSilent    = "silent"    // running when it was last heard of, and not heard of for [NodeSilence]
	NodeStopped   = "stopped"   // in order: it has settled everything and returned its leases
	NodeReclaimed = "reclaimed" // its leases were taken back
)

// NodeSilence is after how long a node that is not heard of counts as silent. Nodes say that they are
// there every [NodeBeat].
const (
	NodeSilence = 2 * time.Minute
	NodeBeat    = 15 * time.Second
)

// NodeInfo is what a node says of itself.
type NodeInfo struct{ Host, Version, Roles string }

// Node is a process that owns a spool, as the database knows it.
type Node struct {
	Spool string
	Epoch int64
	NodeInfo
	State   string
	Started time.Time // of the run; zero for a node that was never heard of
	Seen    time.Time // last
	Settled time.Time // when its cursor moved last
	Leases  []LeaseSum
}

// LeaseSum adds up the open leases of a node that have something left.
type LeaseSum struct {
	Kind     string // wallet or budget
	Currency string
	Leases   int64
	Left     int64 // nano-units: reserved for the node, and not settled
}

// ErrReclaimed is returned by Beat when an operator took this run's leases back, taking it for dead. The
// process has to end: a new run of the spool is in order again.
var ErrReclaimed = errors.New("settle: the leases of this node were reclaimed by an operator; it has to start again")

// Beat says that the node is there; state is NodeRunning or, as the last thing, NodeStopped.
func (s *Settler) Beat(ctx context.Context, info NodeInfo, state string) error {
	epoch := int64(s.spool.Epoch())
	return s.db.Update(ctx, func(tx *db.Tx) error {
		now := db.Micros(tx.Now())
		n, err := tx.Exec(`INSERT INTO node (spool, epoch, host, version, roles, state, started, seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (spool) DO UPDATE SET host = excluded.host, version = excluded.version, roles = excluded.roles, state = excluded.state,
			started = CASE WHEN node.epoch < excluded.epoch THEN excluded.started ELSE node.started END, epoch = excluded.epoch, seen = excluded.seen
			WHERE node.epoch < excluded.epoch OR node.epoch = excluded.epoch AND node.state <> 'reclaimed'`,
			s.spool.ID(), epoch, info.Host, info.Version, info.Roles, state, now, now)
		if err == nil && n == 0 {
			err = ErrReclaimed
		}
		return err
	})
}

// Nodes lists all nodes that were ever heard of or hold leases, by spool.
func Nodes(tx *db.Tx) ([]Node, error) {
	rows, err := tx.Query(`SELECT c.spool, c.epoch, c.updated, COALESCE(n.epoch, 0), COALESCE(n.host, ''), COALESCE(n.version, ''), COALESCE(n.roles, ''),
		COALESCE(n.state, ''), COALESCE(n.started, 0), COALESCE(n.seen, 0) FROM spool_cursor c LEFT JOIN node n ON n.spool = c.spool ORDER BY c.spool`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var nodes []Node
	at := map[string]int{}
	for rows.Next() {
		var n Node
		var epoch, settled, started, seen int64
		if err := rows.Scan(&n.Spool, &n.Epoch, &settled, &epoch, &n.Host, &n.Version, &n.Roles, &n.State, &started, &seen); err != nil {
			return nil, err
		}
		n.Epoch, n.Settled = max(n.Epoch, epoch), db.Time(settled)
		if started > 0 {
			n.Started, n.Seen = db.Time(started), db.Time(seen)
		}
		if (n.State == NodeRunning || n.State == "") && tx.Now().Sub(n.Seen) > NodeSilence {
			n.State = NodeSilent
		}
		at[n.Spool] = len(nodes)
		nodes = append(nodes, n)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	sums, err := leaseSums(tx, "")
	for spool, list := range sums {
		i, ok := at[spool]
		if !ok { // leases without a cursor: its first start did not get far
			i = len(nodes)
			nodes = append(nodes, Node{Spool: spool, State: NodeSilent})
		}
		nodes[i].Leases = list
	}
	return nodes, err
}

// leaseSums adds up open leases by spool; of one, or of all where it is "".
func leaseSums(tx *db.Tx, spool string) (map[string][]LeaseSum, error) {
	rows, err := tx.Query(`SELECT spool, kind, currency, COUNT(*), CAST(SUM(granted - spent) AS BIGINT) FROM credit_lease
		WHERE state = 'open' AND granted > spent AND ($1 = '' OR spool = $2) GROUP BY spool, kind, currency ORDER BY spool, kind DESC, currency`, spool, spool)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sums := map[string][]LeaseSum{}
	for rows.Next() {
		var id string
		var l LeaseSum
		if err := rows.Scan(&id, &l.Kind, &l.Currency, &l.Leases, &l.Left); err != nil {
			return nil, err
		}
		sums[id] = append(sums[id], l)
	}
	return sums, rows.Err()
}

// Reclaim takes back what the leases of a silent node have left, and returns what that was. It is for a
// node that will not come back: its spool may hold finished calls that are not settled. Should the spool
// come back after all, they are settled then as far as the money is still there; calls for which it is
// gone are in suspense. Errors: problem.NotFound, and problem.Conflict while the node is heard of.
func Reclaim(tx *db.Tx, spool string) ([]LeaseSum, error) {
	nodes, err := Nodes(tx)
	if err != nil {
		return nil, err
	}
	var node *Node
	for i := range nodes {
		if nodes[i].Spool == spool {
			node = &nodes[i]
		}
	}
	switch {
	case node == nil:
		return nil, problem.New(problem.NotFound, "settle.node_unknown", "there is no node with the spool %q", clip(spool))
	case node.State == NodeRunning || node.State == NodeStopped && len(node.Leases) == 0:
		return nil, alive(node.State)
	}
	// The cursor first, as the settler does: from here on a run that is not dead after all settles no more.
	epoch := node.Epoch + 1
	now := db.Micros(tx.Now())
	if _, err := tx.Exec(`UPDATE spool_cursor SET epoch = $1 WHERE spool = $2 AND epoch < $3`, epoch, spool, epoch); err != nil {
		return nil, err
	}
	var seen int64
	if !node.Seen.IsZero() {
		seen = db.Micros(node.Seen)
	}
	n, err := tx.Exec(`INSERT INTO node (spool, epoch, host, version, roles, state, started, seen) VALUES ($1, $2, '', '', '', 'reclaimed', $3, $4)
		ON CONFLICT (spool) DO UPDATE SET state = 'reclaimed' WHERE node.seen = $5`, spool, node.Epoch, now, now, seen)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, alive(NodeRunning) // it was heard of this moment
	}
	sums, err := leaseSums(tx, spool)
	if err != nil {
		return nil, err
	}
	return sums[spool], closeLeases(tx, spool, uint64(epoch))
}

func alive(state string) error {
	return problem.New(problem.Conflict, "settle.node_alive", "the node is %s: only the leases of one that has been silent for %s are reclaimed", state, NodeSilence.String())
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}
