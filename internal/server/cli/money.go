package cli

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// balance is a wallet as `wallet -json` prints it.
type balance struct {
	Available string `json:"available"`
	Held      string `json:"held"`
	Currency  string `json:"currency"`
}

func wallet() Command {
	return Command{Name: "wallet", Summary: "show what an organisation can spend",
		About: "Shows an organisation's wallet: what is available, and what is held for calls under way. With -json it\n" +
			`prints {"available","held","currency"}; with wallets in several currencies and no -currency {"items":[…]}.`,
		Example: "tollgate wallet -currency USD",
		Setup: func(fs *flag.FlagSet) Run {
			r := serverFlags(fs)
			org, asJSON := orgFlag(fs), jsonFlag(fs)
			currency := fs.String("currency", "", "only the wallet in this `currency`")
			return func(ctx context.Context, env *Env, _ []string) error {
				c, err := r.client(env)
				if err != nil {
					return err
				}
				o, err := c.organisation(ctx, *org)
				if err != nil {
					return err
				}
				q := url.Values{}
				setIf(q, "currency", *currency)
				var out struct {
					Items []balance `json:"items"`
				}
				if err := c.do(ctx, ask{method: "GET", path: in(o, "wallet"), query: q}, &out); err != nil {
					return err
				}
				if *asJSON && len(out.Items) == 1 {
					return printJSON(env.Stdout, out.Items[0])
				}
				if *asJSON {
					return printJSON(env.Stdout, out)
				}
				g := newGrid("WALLET", ">AVAILABLE", ">HELD")
				for _, b := range out.Items {
					g.add(b.Currency, b.Available, b.Held)
				}
				return g.print(env.Stdout)
			}
		}}
}

func orgFlag(fs *flag.FlagSet) *string {
	return fs.String("org", "", "`organisation`, by name or id; default: the token's own")
}

func jsonFlag(fs *flag.FlagSet) *bool { return fs.Bool("json", false, "print JSON") }

func setIf(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// pageFlags adds the flags of a list.
func pageFlags(fs *flag.FlagSet) func(url.Values) {
	after := fs.String("after", "", "begin after this `cursor`: next of the page before")
	limit := fs.Int("limit", 50, "most `items` to print, up to 500")
	return func(q url.Values) {
		setIf(q, "after", *after)
		q.Set("limit", strconv.Itoa(*limit))
	}
}

type grant struct {
	ID          string    `json:"id"`
	Amount      string    `json:"amount"`
	Currency    string    `json:"currency"`
	Reason      string    `json:"reason,omitempty"`
	Actor       string    `json:"actor"`
	Transaction string    `json:"transaction"`
	Created     time.Time `json:"created"`
}

func credit() Command {
	return Command{Name: "credit", Summary: "grant credit to an organisation", Sub: []Command{
		{Name: "grant", Summary: "add credit to a wallet",
			About: "Adds credit to an organisation's wallet; only the operator may. It happens once, even when the answer is\n" +
				"lost and the request is repeated; a script that may itself run twice gives its own -once. With -json it\n" +
				`prints {"id","amount","currency","reason","actor","transaction","created"}.`,
			Example: "tollgate credit grant -org acme -amount 10.00 -currency USD -reason welcome",
			Setup:   creditGrant},
		{Name: "list", Summary: "list credit granted",
			About:   "Lists the credit that an organisation was granted, newest first.",
			Example: "tollgate credit list -org acme",
			Setup: listCommand("credits", nil, func(items []grant) *grid {
				g := newGrid("GRANT", "CREATED", ">AMOUNT", "", "REASON")
				for _, x := range items {
					g.add(x.ID, moment(x.Created), x.Amount, x.Currency, dash(x.Reason))
				}
				return g
			})},
	}}
}

func creditGrant(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	org, asJSON := orgFlag(fs), jsonFlag(fs)
	amount := fs.String("amount", "", "how much: a decimal `amount` such as 10.00")
	currency := fs.String("currency", "USD", "ISO 4217 `currency`")
	reason := fs.String("reason", "", "why, for the record: a `text`")
	once := fs.String("once", "", "`key` under which this happens once within 24 hours; default: a random one")
	return func(ctx context.Context, env *Env, _ []string) error {
		if *org == "" || *amount == "" {
			return usageError("-org and -amount are needed")
		}
		c, err := r.client(env)
		if err != nil {
			return err
		}
		body := map[string]string{"amount": *amount, "currency": *currency}
		if *reason != "" {
			body["reason"] = *reason
		}
		var out grant
		if err := c.do(ctx, ask{method: "POST", path: in(*org, "credits"), body: body, once: orElse(*once, newKey())}, &out); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, out)
		}
		_, err = fmt.Fprintf(env.Stdout, "granted %s %s to %s (%s)\n", out.Amount, out.Currency, plain(*org), out.ID)
		return err
	}
}

// listCommand is a command that lists what lies at a path below an organisation's; filters adds flags, and may be nil.
func listCommand[T any](path string, filters func(*flag.FlagSet) func(url.Values) error, show func([]T) *grid) func(*flag.FlagSet) Run {
	return func(fs *flag.FlagSet) Run {
		r := serverFlags(fs)
		org, asJSON, page := orgFlag(fs), jsonFlag(fs), pageFlags(fs)
		filter := func(url.Values) error { return nil }
		if filters != nil {
			filter = filters(fs)
		}
		return func(ctx context.Context, env *Env, _ []string) error {
			q := url.Values{}
			page(q)
			if err := filter(q); err != nil {
				return err
			}
			c, err := r.client(env)
			if err != nil {
				return err
			}
			o, err := c.organisation(ctx, *org)
			if err != nil {
				return err
			}
			var out list[T]
			if err := c.do(ctx, ask{method: "GET", path: in(o) + "/" + path, query: q}, &out); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(env.Stdout, out)
			}
			if out.HasMore {
				defer fmt.Fprintf(env.Stderr, "there are more: -after %s\n", plain(out.Next))
			}
			return show(out.Items).print(env.Stdout)
		}
	}
}
