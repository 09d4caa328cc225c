package crash

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/settle"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// The sorts of fault that check finds.
const (
	lost     = "answered, and not in usage"
	unspent  = "sent to the upstream, and not in usage"
	price    = "charged otherwise than told"
	text     = "not the answer that was delivered"
	phantom  = "in usage, and never opened"
	refused  = "refused, and in usage"
	twice    = "in usage twice"
	received = "wrong answer"
)

type fault struct{ sort, detail string }

// check compares what the callers noted and what the upstream saw with the usage events.
func check(notes []note, seen map[string]bool, events []meter.Event) (faults []fault) {
	found := func(sort, format string, args ...any) {
		faults = append(faults, fault{sort, fmt.Sprintf(format, args...)})
	}
	byID := make(map[string]*meter.Event, len(events))
	for i := range events {
		e := &events[i]
		if byID[e.ID] != nil {
			found(twice, "%s", e.ID)
		}
		byID[e.ID] = e
	}
	unheard := 0 // calls of which the caller knows no id
	heard := map[string]bool{}
	for i := range notes {
		n := &notes[i]
		if n.fault != "" {
			found(received, "%s %s: %s", n.kind.name, n.id, n.fault)
		}
		if n.id == "" {
			unheard++
			continue
		}
		heard[n.id] = true
		e := byID[n.id]
		switch {
		case n.kind.refuse:
			if e != nil {
				found(refused, "%s %s", n.kind.name, n.id)
			}
		case e == nil:
			// Headers go out after the OPEN. A refusal may have come before it.
			if n.status == 200 || seen[n.id] {
				found(lost, "%s %s, status %d, whole %v", n.kind.name, n.id, n.status, n.whole)
			}
		case n.whole && n.status == 200:
			checkAnswer(n, e, found)
		case n.whole && e.Charge != 0:
			found(price, "%s %s: status %d, and charged %d", n.kind.name, n.id, n.status, e.Charge)
		}
	}
	for id, was := range seen {
		if was && byID[id] == nil && !heard[id] {
			found(unspent, "%s", id)
		}
	}
	for i := range events {
		e := &events[i]
		if !heard[e.ID] {
			unheard--
		}
		if e.Charge != 0 && !seen[e.ID] {
			found(phantom, "%s is charged %d, and no upstream saw it", e.ID, e.Charge)
		}
		if want := worth(e); e.Outcome == "completed" && e.Charge+e.Excess != want {
			found(price, "%s of %s: charge %d with excess %d, its usage is worth %d", e.ID, e.Model, e.Charge, e.Excess, want)
		}
	}
	if unheard < 0 {
		found(phantom, "%d more events than calls", -unheard)
	}
	return faults
}

// checkAnswer compares a whole answer with its event.
func checkAnswer(n *note, e *meter.Event, found func(sort, format string, args ...any)) {
	if n.told >= 0 && e.Flags&meter.FlagProvisional == 0 && e.Charge != n.told {
		found(price, "%s %s: told %d, charged %d", n.kind.name, n.id, n.told, e.Charge)
	}
	if e.Outcome != "completed" || e.Status != 200 {
		found(text, "%s %s came whole, and is %s with status %d", n.kind.name, n.id, e.Outcome, e.Status)
	}
	if !bytes.Equal(e.ResponseDigest, n.digest[:]) {
		found(text, "%s %s: digest %x, received %x", n.kind.name, n.id, e.ResponseDigest, n.digest)
	}
}

// worth is what the demo's prices make of an event's usage: 0.15, 0.075 and 0.60 USD for a million tokens.
func worth(e *meter.Event) int64 {
	u := &e.Usage // input, cached input, cache write, output, reasoning, audio input, audio output
	return 150*(u[0]+u[2]+u[5]) + 75*u[1] + 600*(u[3]+u[4]+u[6])
}

// allEvents reads the usage events from the database.
func allEvents(t *testing.T, d *db.DB) []meter.Event {
	t.Helper()
	var all []meter.Event
	for before := ""; ; {
		list, more, err := meter.New(d).List(context.Background(), meter.Filter{}, before, 5000)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if !more {
			return all
		}
		before = list[len(list)-1].ID
	}
}

// books is what must hold in the database when all is quiet.
type books struct {
	reserved, budgets, leases int64 // nano-units: of accounts, of budgets, left in open leases
}

func readBooks(t *testing.T, d *db.DB) (b books) {
	t.Helper()
	err := d.View(context.Background(), func(tx *db.Tx) error {
		for sql, v := range map[string]*int64{
			`SELECT CAST(COALESCE(SUM(reserved), 0) AS BIGINT) FROM ledger_account`:                           &b.reserved,
			`SELECT CAST(COALESCE(SUM(reserved), 0) AS BIGINT) FROM budget_period`:                            &b.budgets,
			`SELECT CAST(COALESCE(SUM(granted - spent), 0) AS BIGINT) FROM credit_lease WHERE state = 'open'`: &b.leases,
		} {
			if err := tx.QueryRow(sql).Scan(v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// returned waits until nothing is held any more: leases that are idle go back within seconds.
func returned(t *testing.T, d *db.DB) {
	t.Helper()
	eventually(t, 15*time.Second, func() (bool, string) {
		b := readBooks(t, d)
		return b == books{}, fmt.Sprintf("held although nobody calls: %+v", b)
	})
}

// audit checks a stopped installation: books, spools and, against what was noted, usage.
func (w *world) audit(notes []note, d *db.DB, spools ...string) {
	w.t.Helper()
	events := allEvents(w.t, d)
	faults := check(notes, w.up.ids(), events)
	for i, f := range faults {
		if i == 20 {
			w.t.Errorf("… and %d more faults", len(faults)-i)
			break
		}
		w.t.Errorf("%s: %s", f.sort, f.detail)
	}
	verified(w.t, d)
	if b := readBooks(w.t, d); b != (books{}) {
		w.t.Errorf("after the stop something is held: %+v", b)
	}
	if len(spools) == 0 {
		spools = []string{w.data}
	}
	for _, dir := range spools {
		settled(w.t, d, filepath.Join(dir, "spool"), events)
	}
	byKind := map[string]int{}
	for i := range notes {
		state := "broken"
		if notes[i].whole {
			state = fmt.Sprint(notes[i].status)
		}
		byKind[notes[i].kind.name+" → "+state]++
	}
	w.t.Logf("%d calls, %d events: %v", len(notes), len(events), byKind)
}

// verified proves the books.
func verified(t *testing.T, d *db.DB) {
	t.Helper()
	r, err := settle.Verify(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Errorf("the ledger does not verify: %+v", r)
	}
}

// settled opens the spool of a stopped node and checks that all it holds is in the database.
func settled(t *testing.T, d *db.DB, dir string, events []meter.Event) {
	t.Helper()
	byID := make(map[string]*meter.Event, len(events))
	for i := range events {
		byID[events[i].ID] = &events[i]
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	if len(segments) > 2 {
		t.Errorf("%d segments were kept: %v", len(segments), segments)
	}
	s, err := spool.Open(spool.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dead, err := s.Dead()
	if err != nil {
		t.Fatal(err)
	}
	recs := make([]spool.Record, 1000)
	for {
		n, _, err := dead.Next(recs)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		for i := range recs[:n] {
			r := &recs[i]
			e := byID[r.Event.ID("evt")]
			switch {
			case e == nil:
				t.Errorf("%s is in the spool, and not settled", r.Event.ID("evt"))
			case e.Outcome != r.Outcome.String() || r.Flags&spool.Provisional == 0 && e.Charge != r.Charge:
				t.Errorf("%s: the spool says %s at %d, usage %s at %d", e.ID, r.Outcome, r.Charge, e.Outcome, e.Charge)
			}
		}
	}
}
