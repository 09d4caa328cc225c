package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"
)

// proof is what `ledger verify` shows of the server's report; with -json the report is printed whole.
type proof struct {
	OK           bool     `json:"ok"`
	Transactions int64    `json:"transactions"`
	Accounts     int64    `json:"accounts"`
	Sealed       int64    `json:"sealed"`
	Events       int64    `json:"events"`
	Leases       int64    `json:"leases"`
	Suspended    int64    `json:"suspended"`
	Faults       []string `json:"faults"`
}

type account struct {
	ID       string `json:"id"`
	Owner    string `json:"owner"`
	Purpose  string `json:"purpose"`
	Currency string `json:"currency"`
	Balance  string `json:"balance"`
	Reserved string `json:"reserved"`
}

type transaction struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"`
	Cause string    `json:"cause"`
	Memo  string    `json:"memo,omitempty"`
	Actor string    `json:"actor,omitempty"`
	At    time.Time `json:"at"`
	Seq   int64     `json:"seq"`
	Lines []posting `json:"lines"`
}

type posting struct {
	Account  string `json:"account"`
	Owner    string `json:"owner"`
	Purpose  string `json:"purpose"`
	Currency string `json:"currency"`
	Amount   string `json:"amount"`
}

type suspended struct {
	Event          string    `json:"event"`
	OrganisationID string    `json:"organisation_id"`
	Reason         string    `json:"reason"`
	At             time.Time `json:"at"`
}

func ledger() Command {
	return Command{Name: "ledger", Summary: "prove the book, and read it", Sub: []Command{
		{Name: "verify", Summary: "prove that the book is right",
			About: "Proves the whole book: every transaction sums to zero, balances are the sum of their postings, the hash\n" +
				"chain is whole, the charges of all calls equal what was debited for them, and every reservation belongs to\n" +
				"an open lease. Only the operator may. It reads everything, which takes a while on a large platform. With\n" +
				`-json it prints the report: {"ok",…,"faults"}.`,
			Codes:   "0 the book is right, 1 it is not, or the check failed, " + clientCodes[len("0 done, 1 failed, "):],
			Example: "tollgate ledger verify -json",
			Setup:   ledgerVerify},
		{Name: "accounts", Summary: "list an organisation's accounts",
			About:   "Lists an organisation's accounts in the ledger with their balances; reserved is the part that leases hold.",
			Example: "tollgate ledger accounts -org acme",
			Setup: listCommand("ledger/accounts", nil, func(items []account) *grid {
				g := newGrid("ACCOUNT", "PURPOSE", ">BALANCE", ">RESERVED", "")
				for _, x := range items {
					g.add(x.ID, x.Purpose, x.Balance, x.Reserved, x.Currency)
				}
				return g
			})},
		{Name: "transactions", Summary: "list what touched an organisation's accounts",
			About:   "Lists the transactions with postings on an organisation's accounts, newest first. Seq is the place in the hash\nchain; a transaction that has none yet is sealed within a second.",
			Example: "tollgate ledger transactions -limit 10",
			Setup: listCommand("ledger/transactions", nil, func(items []transaction) *grid {
				g := newGrid("AT", "KIND", "ACCOUNT", ">AMOUNT", "", "CAUSE", ">SEQ")
				for _, x := range items {
					for _, l := range x.Lines {
						g.add(moment(x.At), x.Kind, l.Purpose, l.Amount, l.Currency, x.Cause, fmt.Sprint(x.Seq))
					}
				}
				return g
			})},
		{Name: "suspense", Summary: "list calls that could not be settled",
			About:   "Lists calls whose settlement failed and waits for a person, oldest first. Only the operator may.",
			Example: "tollgate ledger suspense",
			Setup:   ledgerSuspense},
	}}
}

func ledgerVerify(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, env *Env, _ []string) error {
		c, err := r.client(env)
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := c.do(ctx, ask{method: "GET", path: "/ledger/verify", slow: true}, &raw); err != nil {
			return err
		}
		var p proof
		if err := json.Unmarshal(raw, &p); err != nil {
			return c.strange("its report is not the expected JSON").Because(err)
		}
		if *asJSON {
			err = printJSON(env.Stdout, raw)
		} else {
			err = p.print(env)
		}
		if err == nil && !p.OK {
			return exit(Failed)
		}
		return err
	}
}

func (p *proof) print(env *Env) error {
	verdict := "the book is right"
	if !p.OK {
		verdict = fmt.Sprintf("the book has %d faults", len(p.Faults))
	}
	fmt.Fprintf(env.Stdout, "%s: %d transactions (%d sealed) on %d accounts, %d calls, %d open leases\n", verdict, p.Transactions, p.Sealed, p.Accounts, p.Events, p.Leases)
	if p.Suspended > 0 {
		fmt.Fprintf(env.Stdout, "%d calls could not be settled: tollgate ledger suspense\n", p.Suspended)
	}
	for _, f := range p.Faults {
		fmt.Fprintf(env.Stdout, "  %s\n", plain(f))
	}
	return nil
}

func ledgerSuspense(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, env *Env, _ []string) error {
		c, err := r.client(env)
		if err != nil {
			return err
		}
		var out list[suspended]
		if err := c.do(ctx, ask{method: "GET", path: "/ledger/suspense"}, &out); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, out)
		}
		g := newGrid("CALL", "AT", "ORGANISATION", "REASON")
		for _, x := range out.Items {
			g.add(x.Event, moment(x.At), x.OrganisationID, x.Reason)
		}
		return g.print(env.Stdout)
	}
}
