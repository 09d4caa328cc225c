package cli

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"
)

type tokens struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`
	CacheWrite  int64 `json:"cache_write"`
	Output      int64 `json:"output"`
	Reasoning   int64 `json:"reasoning"`
	AudioInput  int64 `json:"audio_input"`
	AudioOutput int64 `json:"audio_output"`
}

// units is an amount of a meter other than tokens.
type units struct {
	Meter    string `json:"meter"`
	Quantity string `json:"quantity"`
}

// quantities are what calls used of meters other than tokens: "1.5 audio_seconds".
func quantities(list []units) string {
	text := make([]string, len(list))
	for i, u := range list {
		text[i] = u.Quantity + " " + u.Meter
	}
	return strings.Join(text, ", ")
}

func (t *tokens) in() int64  { return t.Input + t.CachedInput + t.CacheWrite + t.AudioInput }
func (t *tokens) out() int64 { return t.Output + t.Reasoning + t.AudioOutput }

// sum is what `usage sum -json` prints.
type sum struct {
	Events   *int64  `json:"events,omitempty"`
	Charge   string  `json:"charge,omitempty"`
	Currency string  `json:"currency,omitempty"`
	Items    []group `json:"items,omitempty"`
}

type group struct {
	Group      string  `json:"group,omitempty"`
	Events     int64   `json:"events"`
	Failures   int64   `json:"failures"`
	Charge     string  `json:"charge"`
	Commission string  `json:"commission,omitempty"`
	Currency   string  `json:"currency"`
	Tokens     tokens  `json:"tokens"`
	Units      []units `json:"units,omitempty"`
	DurationMS int64   `json:"duration_ms"`
}

type call struct {
	ID             string    `json:"id"`
	At             time.Time `json:"at"`
	OrganisationID string    `json:"organisation_id"`
	Key            string    `json:"key,omitempty"`
	ProviderID     string    `json:"provider_id"`
	ProductID      string    `json:"product_id"`
	VersionID      string    `json:"version_id,omitempty"`
	UpstreamID     string    `json:"upstream_id,omitempty"`
	Subscription   string    `json:"subscription"`
	PlanVersion    string    `json:"plan_version"`
	Model          string    `json:"model"`
	Outcome        string    `json:"outcome"`
	Status         int64     `json:"status"`
	Stream         bool      `json:"stream"`
	Estimated      bool      `json:"estimated"`
	Provisional    bool      `json:"provisional"`
	Attempts       int64     `json:"attempts"`
	Charge         string    `json:"charge"`
	Currency       string    `json:"currency"`
	Commission     string    `json:"commission,omitempty"`
	Hold           string    `json:"hold"`
	Uncharged      string    `json:"uncharged,omitempty"`
	Tokens         tokens    `json:"tokens"`
	Units          []units   `json:"units,omitempty"`
	BytesIn        int64     `json:"bytes_in"`
	BytesOut       int64     `json:"bytes_out"`
	DurationMS     int64     `json:"duration_ms"`
	FirstByteMS    int64     `json:"first_byte_ms"`
	Transaction    string    `json:"transaction"`
}

func usage() Command {
	return Command{Name: "usage", Summary: "add up, list and show calls", Sub: []Command{
		{Name: "sum", Summary: "add up usage and its cost",
			About: "Adds up an organisation's calls and what they cost. With -json it prints {\"events\",\"charge\",\"currency\"}; with\n" +
				"-group, or where there are several currencies, {…,\"items\":[{\"group\",\"events\",\"failures\",\"charge\",\"currency\",\n" +
				"\"tokens\",\"duration_ms\"}]}. Sums are kept by the hour: -from and -to are cut at full hours.",
			Example: "tollgate usage sum -group model -from 24h",
			Setup:   usageSum},
		{Name: "list", Summary: "list calls",
			About:   "Lists an organisation's calls, newest first.",
			Example: "tollgate usage list -limit 10 -model sandbox",
			Setup:   listCommand("usage/events", usageFilters, calls)},
		{Name: "show", Summary: "show a call", Args: "CALL",
			About:   "Shows everything recorded of a call, named by its id, which is also its x-request-id: tokens by class, charge,\nhold, outcome. Prompts and answers are not recorded.",
			Example: "tollgate usage show evt_01k6…",
			Setup:   usageShow},
	}}
}

// usageFilters adds the flags that say which calls.
func usageFilters(fs *flag.FlagSet) func(url.Values) error {
	from := fs.String("from", "", "only calls since this `time`: RFC 3339, a date, or how long ago, such as 24h")
	to := fs.String("to", "", "only calls before this `time`")
	key := fs.String("key", "", "only calls with this `key`, by id")
	product := fs.String("product", "", "only calls of this `product`, by id")
	model := fs.String("model", "", "only calls of this `model`")
	as := fs.String("as", "", "`view`: consumer (the default) for calls made, provider for calls of one's products")
	return func(q url.Values) error {
		for name, v := range map[string]string{"from": *from, "to": *to} {
			if v == "" {
				continue
			}
			t, err := parseTime(v, time.Now())
			if err != nil {
				return usageError(fmt.Sprintf("-%s %q is no time: write 2026-01-31T09:30:00Z, 2026-01-31 or 24h", name, v))
			}
			q.Set(name, t.UTC().Format(time.RFC3339))
		}
		setIf(q, "key", *key)
		setIf(q, "product", *product)
		setIf(q, "model", *model)
		setIf(q, "as", *as)
		return nil
	}
}

// parseTime reads a time, a date (its midnight in UTC), or a duration before now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

func usageSum(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	org, asJSON := orgFlag(fs), jsonFlag(fs)
	filter := usageFilters(fs)
	by := fs.String("group", "", "add up by `what`: model, product, key, provider, org, hour or day")
	return func(ctx context.Context, env *Env, _ []string) error {
		q := url.Values{}
		if err := filter(q); err != nil {
			return err
		}
		setIf(q, "group", *by)
		c, err := r.client(env)
		if err != nil {
			return err
		}
		o, err := c.organisation(ctx, *org)
		if err != nil {
			return err
		}
		var out sum
		if err := c.do(ctx, ask{method: "GET", path: in(o, "usage", "sum"), query: q}, &out); err != nil {
			return err
		}
		if *asJSON {
			if *by == "" && out.Events != nil {
				out.Items = nil
			}
			return printJSON(env.Stdout, out)
		}
		return out.print(env, *by)
	}
}

func (s *sum) print(env *Env, by string) error {
	if len(s.Items) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "no calls")
		return err
	}
	g := newGrid(strings.ToUpper(by), ">CALLS", ">FAILED", ">TOKENS IN", ">TOKENS OUT", "UNITS", ">CHARGE", "")
	for _, x := range s.Items {
		g.add(dash(x.Group), fmt.Sprint(x.Events), fmt.Sprint(x.Failures), fmt.Sprint(x.Tokens.in()), fmt.Sprint(x.Tokens.out()), quantities(x.Units),
			x.Charge, x.Currency)
	}
	g.dropEmpty("UNITS")
	if by == "" {
		g.drop(0)
	}
	return g.print(env.Stdout)
}

func calls(items []call) *grid {
	g := newGrid("CALL", "AT", "MODEL", ">TOKENS IN", ">TOKENS OUT", "UNITS", ">CHARGE", "", "OUTCOME")
	for _, x := range items {
		outcome := x.Outcome
		if x.Estimated {
			outcome += ", estimated"
		}
		g.add(x.ID, moment(x.At), x.Model, fmt.Sprint(x.Tokens.in()), fmt.Sprint(x.Tokens.out()), quantities(x.Units), x.Charge, x.Currency, outcome)
	}
	g.dropEmpty("UNITS")
	return g
}

func usageShow(fs *flag.FlagSet) Run {
	r := serverFlags(fs)
	org, asJSON := orgFlag(fs), jsonFlag(fs)
	return func(ctx context.Context, env *Env, args []string) error {
		c, err := r.client(env)
		if err != nil {
			return err
		}
		o, err := c.organisation(ctx, *org)
		if err != nil {
			return err
		}
		var x call
		if err := c.do(ctx, ask{method: "GET", path: in(o, "usage", "events", args[0])}, &x); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, x)
		}
		return x.print(env)
	}
}

func (x *call) print(env *Env) error {
	g := newGrid("CALL", x.ID)
	for _, row := range [][2]string{
		{"at", moment(x.At)}, {"model", x.Model}, {"outcome", fmt.Sprintf("%s, status %d", x.Outcome, x.Status)},
		{"charge", x.Charge + " " + x.Currency}, {"hold", x.Hold + " " + x.Currency},
	} {
		g.add(row[0], row[1])
	}
	if x.Uncharged != "" {
		g.add("uncharged", x.Uncharged+" "+x.Currency)
	}
	if x.Commission != "" {
		g.add("commission", x.Commission+" "+x.Currency)
	}
	for _, t := range []struct {
		name string
		n    int64
	}{{"input", x.Tokens.Input}, {"cached input", x.Tokens.CachedInput}, {"cache write", x.Tokens.CacheWrite}, {"output", x.Tokens.Output},
		{"reasoning", x.Tokens.Reasoning}, {"audio input", x.Tokens.AudioInput}, {"audio output", x.Tokens.AudioOutput}} {
		if t.n != 0 {
			g.add("tokens, "+t.name, fmt.Sprint(t.n))
		}
	}
	for _, u := range x.Units {
		g.add(u.Meter, u.Quantity)
	}
	if x.Estimated {
		g.add("estimated", "tokens were counted here: the upstream reported none")
	}
	if x.Provisional {
		g.add("provisional", "the answer could only say a provisional cost")
	}
	g.add("stream", fmt.Sprint(x.Stream))
	g.add("took", fmt.Sprintf("%d ms, first byte after %d ms, %d attempts", x.DurationMS, x.FirstByteMS, x.Attempts))
	g.add("key", dash(x.Key))
	g.add("product", x.ProductID)
	g.add("subscription", x.Subscription)
	g.add("transaction", dash(x.Transaction))
	return g.print(env.Stdout)
}
