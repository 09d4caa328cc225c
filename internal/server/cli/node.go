package cli

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"
)

type nodeInfo struct {
	Spool   string      `json:"spool"`
	State   string      `json:"state"`
	Host    string      `json:"host,omitempty"`
	Version string      `json:"version,omitempty"`
	Roles   string      `json:"roles,omitempty"`
	Epoch   int64       `json:"epoch"`
	Started time.Time   `json:"started,omitzero"`
	Seen    time.Time   `json:"seen,omitzero"`
	Settled time.Time   `json:"settled,omitzero"`
	Leases  []nodeLease `json:"leases"`
}

type nodeLease struct {
	Kind     string `json:"kind"`
	Leases   int64  `json:"leases"`
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

func leasesText(list []nodeLease) string {
	parts := make([]string, 0, len(list))
	for _, l := range list {
		parts = append(parts, fmt.Sprintf("%s %s (%s)", l.Amount, l.Currency, l.Kind))
	}
	return dash(strings.Join(parts, ", "))
}

func nodes() Command {
	return Command{Name: "node", Summary: "list nodes, and take back the leases of a dead one", Sub: []Command{
		{Name: "list", Summary: "list the nodes and what is reserved for them",
			About: "Lists the nodes by the id of their spool: when each was last heard of, when it last settled, and how much of\n" +
				"wallets and budgets is reserved for it. A node is running, silent (not heard of for two minutes), stopped,\n" +
				"or reclaimed. Only the operator may.",
			Codes:   clientCodes,
			Example: "tollgate node list",
			Setup:   nodeList},
		{Name: "reclaim", Summary: "take back the leases of a node that will not come back", Args: "SPOOL",
			About: "Gives wallets and budgets back what is reserved for a silent node whose disk is lost or will not be used\n" +
				"again. Finished calls in its spool that were not settled are then settled only if the spool comes back and\n" +
				"the money is still there; otherwise they are in suspense. Start the node again instead, if you can.\n" +
				"-yes confirms; without it nothing happens but a question.",
			Codes:   "0 done, 1 failed, 2 wrong usage, 3 refused, 4 there is no such node, 5 the node is running, 6 the platform cannot be reached",
			Example: "tollgate node reclaim spl_01j… -yes -reason 'disk lost'",
			Setup:   nodeReclaim},
	}}
}

func nodeList(fs *flag.FlagSet) Run {
	r, asJSON := serverFlags(fs), jsonFlag(fs)
	return func(ctx context.Context, env *Env, _ []string) error {
		var out struct {
			Items []nodeInfo `json:"items"` // all of them: there are no pages
		}
		if err := askOnce(ctx, env, r, ask{method: "GET", path: "/nodes"}, &out); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, out)
		}
		g := newGrid("SPOOL", "STATE", "HOST", ">RUN", "SEEN", "SETTLED", "RESERVED")
		for _, n := range out.Items {
			g.add(n.Spool, n.State, dash(n.Host), fmt.Sprint(n.Epoch), moment(n.Seen), moment(n.Settled), leasesText(n.Leases))
		}
		return g.print(env.Stdout)
	}
}

func nodeReclaim(fs *flag.FlagSet) Run {
	r, asJSON := serverFlags(fs), jsonFlag(fs)
	yes := fs.Bool("yes", false, "confirm that the node will not come back")
	reason := fs.String("reason", "", "`why`, for the audit record")
	return func(ctx context.Context, env *Env, args []string) error {
		if *reason == "" {
			return usageError("it needs -reason")
		}
		if !*yes {
			fmt.Fprintf(env.Stderr, "Will the node with the spool %s not come back, and its disk not be used again? Then repeat the command with -yes.\n", plain(args[0]))
			return exit(Failed)
		}
		var out struct {
			Spool  string      `json:"spool"`
			Leases []nodeLease `json:"leases"`
		}
		body := map[string]string{"confirm": args[0], "reason": *reason}
		if err := askOnce(ctx, env, r, ask{method: "POST", path: "/nodes/" + url.PathEscape(args[0]) + "/reclaim", body: body}, &out); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, out)
		}
		_, err := fmt.Fprintf(env.Stdout, "given back: %s\n", leasesText(out.Leases))
		return err
	}
}
