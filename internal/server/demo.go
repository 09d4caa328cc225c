package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// offered are credentials that the demo tells about when they are in the environment; it never uses
// them by itself.
var offered = []struct{ env, url string }{
	{"OPENAI_API_KEY", "https://api.openai.com/v1"},
	{"ANTHROPIC_API_KEY", "https://api.anthropic.com/v1"},
	{"DEEPSEEK_API_KEY", "https://api.deepseek.com/v1"},
	{"DASHSCOPE_API_KEY", "https://dashscope.aliyuncs.com/compatible-mode/v1"},
}

// Demo is `tollgate demo`, the whole product with data to try: it adds the command's flags and returns what runs
// it when they are parsed.
func Demo(fs *flag.FlagSet) func(ctx context.Context, stdout, stderr io.Writer) error {
	listen := fs.String("listen", "127.0.0.1:8080", "`address` to listen on")
	data := fs.String("data", "tollgate-data", "`directory` for the data; made when missing")
	database := fs.String("database", "", "`address` of the database, sqlite:PATH or postgres://…; default SQLite in the data directory")
	upstream := fs.String("upstream", "", "base `URL` of an OpenAI-compatible server whose models are published (http://127.0.0.1:11434/v1 for Ollama)")
	key := fs.String("upstream-key", "", "`credential` for -upstream; env:NAME takes it from the environment")
	requests := fs.String("requests", "", "`file` for the request log; default DATA/requests.log")
	every := fs.Duration("settle-every", 0, "how long calls may wait to be settled together; default 50ms")
	return func(ctx context.Context, stdout, stderr io.Writer) error {
		if err := resolve(key); err != nil {
			return err
		}
		c := &Config{Listen: *listen, Data: *data, Database: *database, Settle: Settle{Every: *every},
			Log: Log{Level: "warn", Format: "text", Requests: *requests}}
		if c.Log.Requests == "" {
			c.Log.Requests = filepath.Join(*data, "requests.log")
		}
		if *upstream != "" {
			c.UpstreamAllow = []string{"loopback"} // the demo trusts this machine, for -upstream alone
		}
		if err := c.Complete(); err != nil {
			return err
		}
		if err := free(c.Listen); err != nil {
			return err // before anything is written
		}
		a, err := New(ctx, c, stdout, stderr)
		if err != nil {
			return err
		}
		d := demo{App: a, upstream: *upstream, key: secret.New(*key)}
		if err := d.seed(ctx); err != nil {
			return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
		return a.Run(ctx, func() error { return d.greet(stdout) })
	}
}

// free reports whether the address can be listened on.
func free(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return problem.New(problem.Conflict, "server.listen", "cannot listen on %s: %s; choose another address with -listen", addr, err.Error())
	}
	return ln.Close()
}

// demo is the installation that `tollgate demo` makes.
type demo struct {
	*App
	upstream string
	key      secret.Text
	models   []string // what -upstream published
	env      map[string]string
}

var demoActor = audit.System("demo")

const (
	demoOperator = "demo-operator"
	demoProvider = "demo-provider"
	demoConsumer = "demo-consumer"
	demoModel    = "sandbox"
	demoEngines  = "tollgate" // sells the platform's own engines
	demoFree     = "demo-free-tier"
)

// envNames are the lines of demo.env, in order.
var envNames = []string{"TOLLGATE_URL", "TOLLGATE_KEY", "TOLLGATE_CONSUMER_TOKEN", "TOLLGATE_PROVIDER_TOKEN", "TOLLGATE_OPERATOR_TOKEN", "TOLLGATE_MODEL", "TOLLGATE_ENGINES_TOKEN", "TOLLGATE_FREE_TOKEN", "TOLLGATE_FREE_KEY", "TOLLGATE_BOT"}

// seed makes what is missing; an existing installation keeps what it has.
func (d *demo) seed(ctx context.Context) error {
	if err := d.parties(ctx); err != nil {
		return err
	}
	if err := d.capabilities(ctx); err != nil {
		return err
	}
	return d.ready(ctx)
}

// parties makes the organisations, and a language model on sale.
func (d *demo) parties(ctx context.Context) error {
	d.env = readEnv(filepath.Join(d.Config.Data, "demo.env"))
	if err := d.organisations(ctx); err != nil {
		return err
	}
	if d.upstream != "" {
		if err := d.publishUpstream(ctx); err != nil {
			return err
		}
	} else {
		if err := d.sandbox(ctx); err != nil {
			return err
		}
		d.env["TOLLGATE_MODEL"] = demoModel
	}
	return nil
}

// ready has the snapshots see what was made, and tells the credentials.
func (d *demo) ready(ctx context.Context) error {
	d.env["TOLLGATE_URL"] = d.Config.PublicURL
	if err := d.Book.Refresh(ctx); err != nil {
		return err
	}
	return d.writeEnv()
}

// organisations makes the operator, the provider and the consumer with credit, and their keys.
func (d *demo) organisations(ctx context.Context) error {
	return d.DB.Update(ctx, func(tx *db.Tx) error {
		has, err := org.HasOperator(tx, true)
		if err != nil {
			return err
		}
		if !has {
			f, err := d.Keys.FoundTx(tx, demoActor, auth.Setup{Org: demoOperator, TitleEN: "Demo operator", TitleZH: "演示运营方", Email: "operator@tollgate.example", Name: "Operator"})
			if err != nil {
				return err
			}
			d.env["TOLLGATE_OPERATOR_TOKEN"] = f.Secret.Reveal()
		} else if d.env["TOLLGATE_OPERATOR_TOKEN"] == "" { // the file with the credentials was lost
			o, err := org.ByNameTx(tx, demoOperator)
			if err != nil {
				return err
			}
			if err := d.newKey(tx, o, auth.Management, "TOLLGATE_OPERATOR_TOKEN"); err != nil {
				return err
			}
		}
		if err := d.party(tx, demoProvider, "Demo provider", "演示提供方", org.Provider, "TOLLGATE_PROVIDER_TOKEN", nil); err != nil {
			return err
		}
		if err := d.party(tx, demoEngines, "Tollgate engines", "Tollgate 引擎", org.Provider, "TOLLGATE_ENGINES_TOKEN", nil); err != nil {
			return err
		}
		if err := d.party(tx, demoFree, "Free tier", "免费层", org.Consumer, "TOLLGATE_FREE_TOKEN", d.freeTier(tx)); err != nil {
			return err
		}
		return d.party(tx, demoConsumer, "Demo consumer", "演示消费方", org.Consumer, "TOLLGATE_CONSUMER_TOKEN", func(o org.Org, fresh bool) error {
			if fresh || d.env["TOLLGATE_KEY"] == "" {
				if err := d.newKey(tx, o, auth.Inference, "TOLLGATE_KEY"); err != nil {
					return err
				}
			}
			if !fresh {
				return nil
			}
			_, err := billing.GrantCredit(tx, demoActor, billing.GrantInput{Org: o.ID, Amount: 100e9, Currency: "USD", Reason: "credit to try the demo with"})
			return err
		})
	})
}

// party makes an organisation with an owner and a management key, unless it is there. more adds what else it should have.
func (d *demo) party(tx *db.Tx, name, en, zh string, parts org.Parts, env string, more func(o org.Org, fresh bool) error) error {
	o, err := org.ByNameTx(tx, name)
	fresh := problem.Is(err, problem.NotFound)
	if fresh {
		o, err = d.Orgs.CreateTx(tx, demoActor, org.Draft{Name: name, TitleEN: en, TitleZH: zh, Parts: parts})
	}
	if err != nil {
		return err
	}
	if fresh {
		if _, err := org.AddMemberTx(tx, demoActor, o.ID, org.Invite{Email: strings.TrimPrefix(name, "demo-") + "@tollgate.example", Name: en, Role: org.Owner}); err != nil {
			return err
		}
	}
	if fresh || d.env[env] == "" { // a new database, or the file with the credentials was lost
		if err := d.newKey(tx, o, auth.Management, env); err != nil {
			return err
		}
	}
	if more != nil {
		return more(o, fresh)
	}
	return nil
}

func (d *demo) newKey(tx *db.Tx, o org.Org, kind auth.Kind, env string) error {
	draft := auth.Draft{Kind: kind, Org: o.ID, Name: "demo"}
	if kind == auth.Management {
		draft.Role = org.Owner
	}
	_, sec, err := d.Keys.CreateTx(tx, demoActor, draft)
	d.env[env] = sec.Reveal()
	return err
}

// card is what the demo's models cost.
func card() (*rating.Card, error) { return rating.ParseCard([]byte(tokenCard)) }

const tokenCard = "currency: USD\nlines:\n" +
	"  - {name: input, meter: tokens, when: {class: input}, pricing: per_unit, price: \"0.15\", per: 1000000}\n" +
	"  - {name: cached_input, meter: tokens, when: {class: cached_input}, pricing: per_unit, price: \"0.075\", per: 1000000}\n" +
	"  - {name: output, meter: tokens, when: {class: output}, pricing: per_unit, price: \"0.60\", per: 1000000}\n"

// sandbox publishes the built-in model.
func (d *demo) sandbox(ctx context.Context) error {
	return d.DB.Update(ctx, func(tx *db.Tx) error {
		p, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		return d.offer(tx, p, catalog.UpstreamInput{Name: "sandbox", URL: "builtin://sandbox"}, secret.Text{}, catalog.ProductInput{
			Name: "sandbox", Model: demoModel, Capabilities: []catalog.Capability{catalog.Chat, catalog.Embeddings}, MaxOutput: 1024,
			Title: catalog.Text{En: "Sandbox model", Zh: "沙盒模型"},
			Description: catalog.Text{En: "Answers from this product's own manual by retrieval. It is no language model; it is here so that everything can be tried without one.",
				Zh: "通过检索从本产品手册中作答。它不是语言模型，仅用于在没有模型时试用全部功能。"}}, "sandbox", tokenCard)
	})
}

// offer makes upstream, product, plan and the demo consumer's subscription, where the product is missing.
func (d *demo) offer(tx *db.Tx, provider org.Org, up catalog.UpstreamInput, key secret.Text, in catalog.ProductInput, upstreamModel, card string) error {
	if _, err := d.Catalog.ProductNamedTx(tx, provider.ID, in.Name); !problem.Is(err, problem.NotFound) {
		return err
	}
	u, err := d.Catalog.UpstreamNamedTx(tx, provider.ID, up.Name)
	if problem.Is(err, problem.NotFound) {
		if u, err = d.Catalog.CreateUpstreamTx(tx, demoActor, provider.ID, up); err == nil && !key.IsZero() {
			u, err = d.Catalog.SetCredentialTx(tx, demoActor, u.ID, u.Revision, catalog.CredentialInput{Name: "main", Secret: key})
		}
	}
	if err != nil {
		return err
	}
	p, err := d.Catalog.CreateProductTx(tx, demoActor, provider.ID, in)
	if err != nil {
		return err
	}
	if p, err = d.Catalog.CreateVersionTx(tx, demoActor, p.ID, p.Revision, catalog.VersionInput{Name: "v1", Targets: []catalog.TargetInput{{Upstream: u.ID, UpstreamModel: upstreamModel}}}); err != nil {
		return err
	}
	if p, err = d.Catalog.SetReleaseTx(tx, demoActor, p.ID, p.Revision, []catalog.ReleaseInput{{Version: "v1", Release: catalog.Stable, Share: 100}}); err != nil {
		return err
	}
	price, err := rating.ParseCard([]byte(card))
	if err != nil {
		return err
	}
	pl, err := d.Plans.CreatePlanTx(tx, demoActor, p.ID, plan.Input{Name: "payg", Public: true, AutoSubscribe: true, Card: price,
		Title: catalog.Text{En: "Pay as you go", Zh: "按量付费"}})
	if err != nil {
		return err
	}
	if pl, err = d.Plans.PublishPlanTx(tx, demoActor, pl.ID, pl.Revision, demoCommissionPPM); err != nil {
		return err
	}
	if _, err = d.Plans.PublishProductTx(tx, demoActor, p.ID, p.Revision); err != nil {
		return err
	}
	consumer, err := org.ByNameTx(tx, demoConsumer)
	if err != nil {
		return err
	}
	_, err = d.Plans.SubscribeTx(tx, demoActor, consumer.ID, plan.SubscribeInput{PlanID: pl.ID})
	return err
}

// demoCommissionPPM is the platform's part of a sale: a tenth.
const demoCommissionPPM = 100_000

// publishUpstream publishes every model that the upstream lists.
func (d *demo) publishUpstream(ctx context.Context) error {
	up := catalog.UpstreamInput{Name: "upstream", URL: strings.TrimRight(d.upstream, "/")}
	ask, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	models, err := catalog.FetchModels(ask, d.Egress.HTTP(), &catalog.Upstream{Name: "upstream", URL: up.URL, Timeouts: catalog.Timeouts{Connect: 5000, FirstByte: 10_000}}, d.key)
	if err != nil {
		return err
	}
	if len(models) == 0 {
		return problem.New(problem.Upstream, "server.no_models", "%s lists no models; load one there, then start again", up.URL)
	}
	err = d.DB.Update(ctx, func(tx *db.Tx) error {
		p, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		if err := d.moveUpstream(tx, p, up); err != nil {
			return err
		}
		taken := map[string]bool{}
		for _, m := range models {
			name := catalog.NameFor(m)
			for i := 2; taken[name]; i++ {
				name = catalog.NameFor(fmt.Sprintf("%s-%d", m, i))
			}
			taken[name] = true
			in := catalog.ProductInput{Name: name, Model: m, Title: catalog.Text{En: m}, MaxOutput: 4096,
				Capabilities: []catalog.Capability{catalog.Chat, catalog.Embeddings}}
			if err := d.offer(tx, p, up, d.key, in, m, tokenCard); err != nil {
				return fmt.Errorf("model %q: %w", m, err)
			}
		}
		return nil
	})
	d.models = models
	if len(models) > 0 {
		d.env["TOLLGATE_MODEL"] = models[0]
	}
	return err
}

// moveUpstream points an upstream of an earlier start at the present address.
func (d *demo) moveUpstream(tx *db.Tx, p org.Org, up catalog.UpstreamInput) error {
	u, err := d.Catalog.UpstreamNamedTx(tx, p.ID, up.Name)
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if u.URL != up.URL {
		if u, err = d.Catalog.UpdateUpstreamTx(tx, demoActor, u.ID, u.Revision, up); err != nil {
			return err
		}
	}
	if d.key.IsZero() {
		return nil
	}
	_, err = d.Catalog.SetCredentialTx(tx, demoActor, u.ID, u.Revision, catalog.CredentialInput{Name: "main", Secret: d.key})
	return err
}

// readEnv reads the credentials of an earlier start.
func readEnv(path string) map[string]string {
	env := map[string]string{}
	data, err := os.ReadFile(path)
	if err != nil {
		return env // there is none yet: it will be written
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "="); ok {
			env[k] = strings.Trim(v, "'")
		}
	}
	return env
}

func (d *demo) writeEnv() error {
	var b strings.Builder
	for _, k := range envNames {
		fmt.Fprintf(&b, "%s=%s\n", k, d.env[k]) // no value has a character that a shell or a dotenv reader would read otherwise
	}
	path := filepath.Join(d.Config.Data, "demo.env")
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// greet prints what to try next.
func (d *demo) greet(w io.Writer) error {
	url, env := d.Config.PublicURL, filepath.Join(d.Config.Data, "demo.env")
	fmt.Fprintf(w, "\nTollgate %s is running: %s\n\n", Version, url)
	if d.upstream == "" {
		fmt.Fprintf(w, "The model %q answers from the manual by retrieval; it is no language model.\nA real one: tollgate demo -upstream http://127.0.0.1:11434/v1\n\n", demoModel)
	} else {
		fmt.Fprintf(w, "%d models of %s are on sale: %s\n\n", len(d.models), d.upstream, brief(d.models))
	}
	for _, o := range offered {
		if os.Getenv(o.env) != "" {
			fmt.Fprintf(w, "%s is set; to sell its models here: tollgate demo -upstream %s -upstream-key env:%s\n\n", o.env, o.url, o.env)
		}
	}
	fmt.Fprintf(w, "Try it, in another terminal:\n\n  set -a; . %s; set +a\n  curl -N $TOLLGATE_URL/v1/chat/completions -H \"Authorization: Bearer $TOLLGATE_KEY\" -H 'Content-Type: application/json' \\\n    -d '{\"model\":\"'$TOLLGATE_MODEL'\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":\"What is a hold?\"}]}'\n\n", env)
	if err := d.greetEngines(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "What it cost, and that it adds up:\n\n  TOLLGATE_TOKEN=$TOLLGATE_CONSUMER_TOKEN go run ./cmd/tollgate wallet\n  TOLLGATE_TOKEN=$TOLLGATE_OPERATOR_TOKEN go run ./cmd/tollgate ledger verify\n\nCatalogue and portal: %s/\nCtrl-C stops it; what was used is settled, and kept in %s.\n", url, d.Config.Data)
	return nil
}

func brief(models []string) string {
	if len(models) > 5 {
		return strings.Join(models[:5], ", ") + ", …"
	}
	return strings.Join(models, ", ")
}
