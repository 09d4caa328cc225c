package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// The negative control is a gateway as many are built: it answers, and puts what is to be charged in a queue in
// memory, from which it is written every 100 ms. It charges the right price, and posts it right. Only kill -9 shows
// what is wrong with it, and [check] must.

const flushEvery = 100 * time.Millisecond

// control is the process of the negative control.
type control struct {
	db                 *db.DB
	upstream           string
	consumer, provider string

	mu    sync.Mutex
	queue []meter.Event // guarded by mu: answered, and not yet written
}

// controlMain runs the negative control; its environment says with what.
func controlMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d, err := db.Open(ctx, os.Getenv("CRASH_DATABASE"), db.Options{})
	if err == nil {
		defer d.Close()
		c := &control{db: d, upstream: os.Getenv("CRASH_UPSTREAM")}
		err = c.serve(ctx, os.Getenv("CRASH_LISTEN"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c *control) serve(ctx context.Context, addr string) error {
	err := c.db.View(ctx, func(tx *db.Tx) error {
		for name, id := range map[string]*string{consumer: &c.consumer, "demo-provider": &c.provider} {
			o, err := org.ByNameTx(tx, name)
			if err != nil {
				return err
			}
			*id = o.ID
		}
		return nil
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST "+chatPath, c.call)
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			return err
		case <-tick.C:
			if err := c.flush(context.WithoutCancel(ctx)); err != nil {
				return err
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := srv.Shutdown(last); err != nil {
				return err
			}
			return c.flush(last)
		}
	}
}

// call forwards a call, puts its cost into the answer, and queues it.
func (c *control) call(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	id := db.NewUUID(began).ID("evt")
	w.Header().Set("X-Request-Id", id)
	q, err := http.NewRequestWithContext(r.Context(), "POST", c.upstream+"/chat/completions", r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	q.Header.Set("X-Request-Id", id)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	var v struct {
		Usage struct {
			In  int64 `json:"prompt_tokens"`
			Out int64 `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	e := meter.Event{ID: id, At: db.Micros(began), Org: c.consumer, Provider: c.provider, Model: "fake", Outcome: "completed", Status: 200,
		Currency: "USD", Usage: [meter.Classes]int64{0: v.Usage.In, 3: v.Usage.Out}, RequestDigest: []byte{}}
	e.Charge = worth(&e)
	e.Hold = e.Charge
	answer := strings.Replace(string(body), `"usage":{`, `"usage":{"cost":`+money.FormatNano(e.Charge)+`,`, 1)
	e.ResponseDigest = digest(answer)
	w.Header().Set("Content-Type", "application/json")
	c.mu.Lock()
	c.queue = append(c.queue, e)
	c.mu.Unlock()
	_, _ = io.WriteString(w, answer) // a client that left is charged all the same
}

// flush writes what is queued: events and postings in one transaction.
func (c *control) flush(ctx context.Context) error {
	c.mu.Lock()
	events := c.queue
	c.queue = nil
	c.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	return c.db.Update(ctx, func(tx *db.Tx) error {
		txn := db.NewID("txn", tx.Now())
		var sum int64
		for i := range events {
			events[i].Txn = txn
			sum += events[i].Charge
		}
		if err := meter.Insert(tx, events); err != nil {
			return err
		}
		_, _, err := ledger.Post(tx, ledger.Transaction{ID: txn, Kind: settle.KindUsage, Cause: events[0].ID, Actor: "control", Postings: []ledger.Posting{
			{Account: ledger.Account{Owner: c.consumer, Purpose: ledger.Wallet, Currency: "USD"}, Amount: -sum},
			{Account: ledger.Account{Owner: c.provider, Purpose: ledger.Payable, Currency: "USD"}, Amount: sum}}})
		return err
	})
}

// TestControl puts the negative control through the kills and the check of TestKill. Stopped properly it must pass,
// or the check proves nothing; killed it must not.
func TestControl(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite")
	n := &node{t: t, args: []string{os.Args[0]}, addr: freeAddr(t), log: filepath.Join(w.dir, "control.log")}
	n.env = []string{controlVar + "=1", "CRASH_DATABASE=" + w.dsn, "CRASH_LISTEN=" + n.addr, "CRASH_UPSTREAM=" + w.up.server.URL + "/v1"}
	t.Cleanup(n.kill)
	d := w.open()
	kinds := []kind{{name: "json", weight: 1, path: chatPath, body: chat("fake", 64, "")}}

	calls := func(end func()) (notes []note) {
		l := newLoad(w.key, kinds)
		l.start(8)
		n.start()
		n.up()
		l.to(n.addr)
		eventually(t, time.Minute, func() (bool, string) {
			return l.answered.Load() > 300, fmt.Sprintf("%d calls", l.answered.Load())
		})
		if end == nil {
			l.end()
			n.stop()
			return l.all()
		}
		pause(context.Background(), 5*flushEvery/2)
		end()
		l.hold()
		l.end()
		return l.all()
	}
	notes := calls(nil)
	for _, f := range check(notes, w.up.ids(), allEvents(t, d)) {
		t.Errorf("without a kill: %s: %s", f.sort, f.detail)
	}
	verified(t, d)
	for range 3 {
		notes = append(notes, calls(n.kill)...)
	}
	sorts := map[string]int{}
	for _, f := range check(notes, w.up.ids(), allEvents(t, d)) {
		sorts[f.sort]++
	}
	t.Logf("%d calls; found %v", len(notes), sorts)
	if sorts[lost] == 0 {
		t.Errorf("a queue in memory was killed, and the check found nothing lost: %v", sorts)
	}
	verified(t, d) // the books alone do not show it
}

// TestCheck feeds the check with each fault that it must see.
func TestCheck(t *testing.T) {
	t.Parallel()
	k := &mixed[0]
	answer := `{"usage":{"cost":0.0000135}}`
	good := note{kind: k, id: "evt_1", status: 200, whole: true, told: 13500}
	copy(good.digest[:], digest(answer))
	event := meter.Event{ID: "evt_1", Outcome: "completed", Status: 200, Charge: 13500, Usage: [meter.Classes]int64{0: 10, 3: 20}, ResponseDigest: digest(answer)}
	for _, c := range []struct {
		name   string
		change func(n *note, e *meter.Event)
		notes  int // copies of the note
		events int // copies of the event
		seen   bool
		want   string
	}{
		{"good", func(*note, *meter.Event) {}, 1, 1, true, ""},
		{"answer lost", func(*note, *meter.Event) {}, 1, 0, true, lost},
		{"settled twice", func(*note, *meter.Event) {}, 1, 2, true, twice},
		{"another price than told", func(n *note, _ *meter.Event) { n.told++ }, 1, 1, true, price},
		{"wrong price", func(n *note, e *meter.Event) { n.told++; e.Charge++ }, 1, 1, true, price},
		{"another answer", func(_ *note, e *meter.Event) { e.ResponseDigest = digest("") }, 1, 1, true, text},
		{"taken for interrupted", func(_ *note, e *meter.Event) { e.Outcome = "interrupted" }, 1, 1, true, text},
		{"a refusal charged", func(n *note, _ *meter.Event) { n.kind = &kind{refuse: true} }, 1, 1, true, refused},
		{"an error charged", func(n *note, _ *meter.Event) { n.status = 502 }, 1, 1, true, price},
		{"no such call", func(*note, *meter.Event) {}, 0, 1, false, phantom},
		{"spent without a record", func(*note, *meter.Event) {}, 0, 0, true, unspent},
		{"no upstream was asked", func(*note, *meter.Event) {}, 1, 1, false, phantom},
		{"a wrong answer", func(n *note, _ *meter.Event) { n.fault = "no cost" }, 1, 1, true, received},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, e := good, event
			c.change(&n, &e)
			var notes []note
			var events []meter.Event
			for range c.notes {
				notes = append(notes, n)
			}
			for range c.events {
				events = append(events, e)
			}
			faults := check(notes, map[string]bool{"evt_1": c.seen}, events)
			if c.want == "" {
				if len(faults) > 0 {
					t.Errorf("found %v", faults)
				}
				return
			}
			for _, f := range faults {
				if f.sort == c.want {
					return
				}
			}
			t.Errorf("found %v, want %q", faults, c.want)
		})
	}
}
