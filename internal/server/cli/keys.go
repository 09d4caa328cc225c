package cli

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

type keyLimits struct {
	Products    []string `json:"products,omitempty"`
	Models      []string `json:"models,omitempty"`
	Networks    []string `json:"networks,omitempty"`
	Referrers   []string `json:"referrers,omitempty"`
	Requests    int64    `json:"requests_per_minute,omitempty"`
	Tokens      int64    `json:"tokens_per_minute,omitempty"`
	Concurrency int64    `json:"concurrency,omitempty"`
}

type budget struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Span     string `json:"span,omitempty"`
}

// keyDraft is what is sent to make a key.
type keyDraft struct {
	Kind    string     `json:"kind,omitempty"`
	Name    string     `json:"name"`
	Role    string     `json:"role,omitempty"`
	Limits  keyLimits  `json:"limits,omitzero"`
	Budget  *budget    `json:"budget,omitempty"`
	Budgets []string   `json:"budgets,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

type secretInfo struct {
	Prefix   string    `json:"prefix"`
	LastFour string    `json:"last_four"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
}

type keyInfo struct {
	ID             string       `json:"id"`
	OrganisationID string       `json:"organisation_id"`
	Kind           string       `json:"kind"`
	Name           string       `json:"name"`
	Role           string       `json:"role,omitempty"`
	User           string       `json:"user,omitempty"`
	Departed       bool         `json:"departed"`
	State          string       `json:"state"`
	Reason         string       `json:"reason,omitempty"`
	Limits         keyLimits    `json:"limits"`
	Budgets        []string     `json:"budgets"`
	Expires        time.Time    `json:"expires,omitzero"`
	Revoked        time.Time    `json:"revoked,omitzero"`
	LastUsed       time.Time    `json:"last_used,omitzero"`
	Created        time.Time    `json:"created"`
	Secrets        []secretInfo `json:"secrets"`
}

// freshKey is what `key create -json` and `key rotate -json` print.
type freshKey struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

func (k *freshKey) print(env *Env, asJSON bool) error {
	if asJSON {
		return printJSON(env.Stdout, k)
	}
	fmt.Fprintf(env.Stderr, "%s; its secret is shown this once:\n", plain(k.ID))
	_, err := fmt.Fprintln(env.Stdout, plain(k.Key))
	return err
}

func keys() Command {
	return Command{Name: "key", Summary: "create, list, show, rotate and revoke keys", Sub: []Command{
		{Name: "create", Summary: "create a key",
			About: "Creates a key. An inference key (-kind inf, the default) calls models; a management key (mgt) uses this API with\n" +
				"a -role. The key is printed on standard output, this once: only a hash of it is kept. With -json it prints\n" +
				`{"id","key"}.`,
			Example: "tollgate key create -name laptop -budget 1.00 -currency USD",
			Setup:   keyCreate},
		{Name: "list", Summary: "list keys", About: "Lists an organisation's keys, without their secrets.", Example: "tollgate key list -state active",
			Setup: listCommand("keys", keyFilters, func(items []keyInfo) *grid {
				g := newGrid("KEY", "NAME", "KIND", "STATE", "SECRET", "LAST USED", "EXPIRES")
				for _, k := range items {
					g.add(k.ID, k.Name, strings.TrimSpace(k.Kind+" "+k.Role), k.state(), k.hint(), moment(k.LastUsed), moment(k.Expires))
				}
				return g
			})},
		{Name: "show", Summary: "show a key", Args: "KEY", About: "Shows a key, named by its id: state, limits, budgets.", Example: "tollgate key show key_01k6…", Setup: keyShow},
		{Name: "rotate", Summary: "give a key a new secret", Args: "KEY",
			About:   "Gives a key a new secret. Its id stays, and with it limits, budgets and usage. The old secret goes on working for\nthe -overlap. With -json it prints {\"id\",\"key\"}.",
			Example: "tollgate key rotate -overlap 24h key_01k6…", Setup: keyRotate},
		{Name: "revoke", Summary: "revoke a key for good", Args: "KEY",
			About:   "Revokes a key for good; everywhere within two seconds.",
			Example: "tollgate key revoke -reason leaked key_01k6…", Setup: keyRevoke},
	}}
}

func keyFilters(fs *flag.FlagSet) func(url.Values) error {
	kind := fs.String("kind", "", "only this `kind`: inf or mgt")
	state := fs.String("state", "", "only keys in this `state`: active or revoked")
	departed := fs.Bool("departed", false, "only keys whose secret a former member may know")
	return func(q url.Values) error {
		setIf(q, "kind", *kind)
		setIf(q, "state", *state)
		if *departed {
			q.Set("departed", "true")
		}
		return nil
	}
}

func (k *keyInfo) state() string {
	if k.Departed {
		return k.State + ", departed"
	}
	return k.State
}

// hint is how a person recognises the secret.
func (k *keyInfo) hint() string {
	var all []string
	for _, s := range k.Secrets {
		all = append(all, s.Prefix+"…"+s.LastFour)
	}
	return dash(strings.Join(all, " "))
}

func commas(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func keyCreate(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	org, asJSON := orgFlag(fs), jsonFlag(fs)
	var d keyDraft
	fs.StringVar(&d.Name, "name", "key", "`name`, for people")
	fs.StringVar(&d.Kind, "kind", "inf", "`kind`: inf or mgt")
	fs.StringVar(&d.Role, "role", "", "`role` of a management key: owner, admin, developer, billing or viewer (the default)")
	amount := fs.String("budget", "", "most that the key may spend: a decimal `amount`")
	currency := fs.String("currency", "USD", "`currency` of -budget")
	span := fs.String("span", "", "`period` of -budget: total (the default), day or month")
	budgets := fs.String("budgets", "", "`ids` of existing budgets, with commas")
	models := fs.String("models", "", "only these `models`, with commas; a trailing * stands for any ending")
	products := fs.String("products", "", "only these `products`, by id, with commas")
	networks := fs.String("networks", "", "only from these `addresses` or CIDR ranges, with commas")
	referrers := fs.String("referrers", "", "only from pages of these `hosts`, with commas")
	fs.Int64Var(&d.Limits.Requests, "rpm", 0, "most `requests` a minute")
	fs.Int64Var(&d.Limits.Tokens, "tpm", 0, "most `tokens` a minute")
	fs.Int64Var(&d.Limits.Concurrency, "concurrency", 0, "most `requests` at a time")
	expires := fs.String("expires", "", "`when` it ends: RFC 3339, a date, or how long it lasts, such as 720h")
	return func(ctx context.Context, env *Env, _ []string) error {
		if *amount != "" {
			d.Budget = &budget{*amount, *currency, *span}
		} else if *span != "" {
			return usageError("-span needs -budget")
		}
		d.Budgets, d.Limits.Models, d.Limits.Products = commas(*budgets), commas(*models), commas(*products)
		d.Limits.Networks, d.Limits.Referrers = commas(*networks), commas(*referrers)
		if *expires != "" {
			t, err := expiry(*expires, time.Now())
			if err != nil {
				return usageError(fmt.Sprintf("-expires %q is no time: write 2026-01-31T09:30:00Z, 2026-01-31 or 720h", *expires))
			}
			d.Expires = &t
		}
		c, err := r.client(env)
		if err != nil {
			return err
		}
		o, err := c.organisation(ctx, *org)
		if err != nil {
			return err
		}
		var k freshKey
		if err := c.do(ctx, ask{method: "POST", path: in(o, "keys"), body: d}, &k); err != nil {
			return err
		}
		return k.print(env, *asJSON)
	}
}

// expiry is parseTime with durations counted forward.
func expiry(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	return parseTime(text, now)
}

// keyAsk is a command on one key: it sends the request that request makes for the key's path.
func keyAsk(fs *flag.FlagSet, out any, request func(path string) ask, show func(env *Env, asJSON bool) error) Run {
	r := serverFlags(fs)
	org, asJSON := orgFlag(fs), jsonFlag(fs)
	return func(ctx context.Context, env *Env, args []string) error {
		if strings.HasPrefix(args[0], "sk-") {
			return problem.New(problem.Invalid, "cli.key_secret", "name the key by its id (key_…), not by the secret itself: tollgate key list shows ids")
		}
		c, err := r.client(env)
		if err != nil {
			return err
		}
		o, err := c.organisation(ctx, *org)
		if err != nil {
			return err
		}
		if err := c.do(ctx, request(in(o, "keys", args[0])), out); err != nil {
			return err
		}
		return show(env, *asJSON)
	}
}

func keyShow(fs *flag.FlagSet) Run {
	var k keyInfo
	return keyAsk(fs, &k, func(path string) ask { return ask{method: "GET", path: path} },
		func(env *Env, asJSON bool) error {
			if asJSON {
				return printJSON(env.Stdout, k)
			}
			return k.print(env)
		})
}

func (k *keyInfo) print(env *Env) error {
	g := newGrid("KEY", k.ID)
	add := func(name, v string) {
		if v != "" && v != "-" && v != "0" {
			g.add(name, v)
		}
	}
	add("name", k.Name)
	add("kind", strings.TrimSpace(k.Kind+" "+k.Role))
	add("state", k.state())
	add("reason", k.Reason)
	add("secret", k.hint())
	add("budgets", strings.Join(k.Budgets, " "))
	add("models", strings.Join(k.Limits.Models, " "))
	add("products", strings.Join(k.Limits.Products, " "))
	add("networks", strings.Join(k.Limits.Networks, " "))
	add("referrers", strings.Join(k.Limits.Referrers, " "))
	add("requests a minute", fmt.Sprint(k.Limits.Requests))
	add("tokens a minute", fmt.Sprint(k.Limits.Tokens))
	add("at a time", fmt.Sprint(k.Limits.Concurrency))
	add("created", moment(k.Created))
	add("last used", moment(k.LastUsed))
	add("expires", moment(k.Expires))
	add("revoked", moment(k.Revoked))
	return g.print(env.Stdout)
}

func keyRotate(fs *flag.FlagSet) Run {
	overlap := fs.String("overlap", "", "how long the old secret goes on working: a `duration` such as 24h; default 0")
	var k freshKey
	return keyAsk(fs, &k, func(path string) ask {
		body := map[string]string{}
		if *overlap != "" {
			body["overlap"] = *overlap
		}
		return ask{method: "POST", path: path + "/rotate", body: body}
	}, k.print)
}

func keyRevoke(fs *flag.FlagSet) Run {
	reason := fs.String("reason", "", "why, for the record: a `text`")
	var k keyInfo
	return keyAsk(fs, &k, func(path string) ask {
		q := url.Values{}
		setIf(q, "reason", *reason)
		return ask{method: "DELETE", path: path, query: q}
	}, func(env *Env, asJSON bool) error {
		if asJSON {
			return printJSON(env.Stdout, k)
		}
		_, err := fmt.Fprintf(env.Stdout, "%s is %s\n", plain(k.ID), plain(k.State))
		return err
	})
}
