package api

import (
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/settle"
)

type nodeView struct {
	Spool   string      `json:"spool" doc:"Id of the node's spool"`
	State   string      `json:"state" enum:"running,silent,stopped,reclaimed"`
	Host    string      `json:"host,omitempty"`
	Version string      `json:"version,omitempty"`
	Roles   string      `json:"roles,omitempty"`
	Epoch   int64       `json:"epoch" doc:"Number of the run"`
	Started *time.Time  `json:"started,omitempty" doc:"When the run began"`
	Seen    *time.Time  `json:"seen,omitempty" doc:"When the node was last heard of"`
	Settled *time.Time  `json:"settled,omitempty" doc:"When it last settled something"`
	Leases  []leaseView `json:"leases" doc:"What is reserved for it"`
}

type leaseView struct {
	Kind     string `json:"kind" enum:"wallet,budget" doc:"Drawn on wallets, or on budgets over them"`
	Leases   int64  `json:"leases"`
	Amount   string `json:"amount" doc:"Reserved and not settled"`
	Currency string `json:"currency"`
}

func showNode(n settle.Node) nodeView {
	moment := func(t time.Time) *time.Time {
		if t.UnixMicro() <= 0 {
			return nil
		}
		return &t
	}
	return nodeView{Spool: n.Spool, State: n.State, Host: n.Host, Version: n.Version, Roles: n.Roles, Epoch: n.Epoch, Started: moment(n.Started),
		Seen: moment(n.Seen), Settled: moment(n.Settled), Leases: showLeases(n.Leases)}
}

func showLeases(sums []settle.LeaseSum) []leaseView {
	list := make([]leaseView, 0, len(sums))
	for _, l := range sums {
		list = append(list, leaseView{l.Kind, l.Leases, nano(l.Left), l.Currency})
	}
	return list
}

type reclaimed struct {
	Spool  string      `json:"spool"`
	Leases []leaseView `json:"leases" doc:"What was given back"`
}

func (s *server) nodes() {
	view(s, route("list-nodes", "GET /nodes", "List the nodes and what is reserved for them"),
		func(tx *db.Tx, c *call, _ *struct{}) (*listOutput[nodeView], error) {
			if err := auth.Permit(c.principal, "doctor.read", ""); err != nil {
				return nil, err
			}
			nodes, err := settle.Nodes(tx)
			return page(nodes, false, func(n settle.Node) string { return n.Spool }, showNode), err
		})
	change(s, route("reclaim-node", "POST /nodes/{spool}/reclaim", "Take back the leases of a node that will not come back", tagged("nodes"),
		about("Gives wallets and budgets back what is reserved for a node that has been silent for two minutes. Its spool may hold finished calls that are not settled: should it come back, they are settled as far as the money is still there, and are in suspense otherwise. If the node is still running it stops and has to be started again.")),
		func(tx *db.Tx, c *call, in *struct {
			Spool string `path:"spool" maxLength:"60" doc:"Id of the node's spool"`
			Body  struct {
				Confirm string `json:"confirm" maxLength:"60" doc:"The id of the spool once more: its disk is lost, or will not be used again"`
				Reason  string `json:"reason" minLength:"1" maxLength:"500" doc:"For the audit record"`
			} `nameHint:"Reclaim"`
		}) (*struct{ Body reclaimed }, error) {
			if err := auth.Permit(c.principal, "node.reclaim", ""); err != nil {
				return nil, err
			}
			if in.Body.Confirm != in.Spool {
				return nil, problem.New(problem.Unprocessable, "api.not_confirmed", "confirm must repeat the id of the spool").WithField("confirm", "must repeat the id of the spool")
			}
			sums, err := settle.Reclaim(tx, in.Spool)
			if err != nil {
				return nil, err
			}
			out := &struct{ Body reclaimed }{reclaimed{in.Spool, showLeases(sums)}}
			return out, audit.Record(tx, audit.Entry{Actor: c.actor, Action: "node.reclaim", Object: in.Spool, Reason: in.Body.Reason, After: out.Body})
		})
}
