package record

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

var owner = audit.Actor{Org: "org_a", User: "usr_o", Key: "key_o"}

// world is one process with its clock.
type world struct {
	*testing.T
	db    *db.DB
	clock *clock.Manual
	store *Store
	ring  string
}

func each(t *testing.T, fn func(w *world)) {
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	dbtest.EachWith(t, db.Options{Clock: c}, []db.Migrations{audit.Migrations, Migrations}, func(t *testing.T, d *db.DB) {
		w := &world{T: t, db: d, clock: c, ring: secret.Generate().Reveal()}
		w.store = New(d, w.sealer())
		fn(w)
	})
}

func (w *world) sealer() *secret.Sealer {
	w.Helper()
	s, err := secret.Parse(w.ring)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) update(fn func(tx *db.Tx) error) error {
	return w.db.Update(context.Background(), fn)
}

func (w *world) set(enabled bool, days int64) {
	w.Helper()
	if err := w.update(func(tx *db.Tx) error { _, err := w.store.SetTx(tx, owner, "org_a", enabled, days, 0); return err }); err != nil {
		w.Fatal(err)
	}
}

// recorder starts one that polls only when it is told to.
func (w *world) recorder(o RecorderOptions) *Recorder {
	w.Helper()
	o.Poll = time.Hour
	r := NewRecorder(w.store, o)
	if err := r.Start(context.Background()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Stop(context.Background()) })
	return r
}

func (w *world) event() string { return db.NewID("evt", w.clock.Now()) }

func (w *world) open(event string) (c Content, err error) {
	err = w.update(func(tx *db.Tx) error { c, err = w.store.OpenTx(tx, owner, "org_a", event); return err })
	return c, err
}

func (w *world) rows() (n int) {
	w.Helper()
	err := w.db.View(context.Background(), func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM recorded_content`).Scan(&n)
	})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) actions() (list []string) {
	w.Helper()
	err := w.db.View(context.Background(), func(tx *db.Tx) error {
		list = nil
		rows, err := tx.Query(`SELECT action || ' ' || object || ' ' || actor_user FROM audit_entry ORDER BY action DESC`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			list = append(list, s)
		}
		return rows.Err()
	})
	if err != nil {
		w.Fatal(err)
	}
	return list
}

func wantKind(t *testing.T, err error, k problem.Kind) {
	t.Helper()
	if !problem.Is(err, k) {
		t.Errorf("got %v, want kind %d", err, k)
	}
}

func TestKeptOnlyWhereSwitchedOn(t *testing.T) {
	each(t, func(w *world) {
		r := w.recorder(RecorderOptions{})
		off, on := w.event(), w.event()
		if r.Wants("org_a") {
			t.Fatal("recording is on by default")
		}
		r.Record(off, "org_a", []byte("before"), nil)
		w.set(true, 7)
		waitFor(t, func() bool { return r.Wants("org_a") })
		if r.Wants("org_b") {
			t.Error("another organisation is recorded")
		}
		prompt := []byte(`{"messages":"secret prompt"}`)
		r.Record(on, "org_a", prompt, []byte("the answer"))
		clear(prompt) // the caller's bytes are the caller's again
		waitFor(t, func() bool { return w.rows() == 1 })

		_, err := w.open(off)
		wantKind(t, err, problem.NotFound)
		c, err := w.open(on)
		if err != nil {
			t.Fatal(err)
		}
		want := Content{Event: on, At: w.clock.Now(), Request: []byte(`{"messages":"secret prompt"}`),
			Answer: []byte("the answer"), Expires: w.clock.Now().AddDate(0, 0, 7)}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Error(diff)
		}
		err = w.update(func(tx *db.Tx) error { _, err := w.store.OpenTx(tx, owner, "org_b", on); return err })
		wantKind(t, err, problem.NotFound)
		if diff := cmp.Diff([]string{"recording.write org_a usr_o", "prompts.read " + on + " usr_o"}, w.actions()); diff != "" {
			t.Error(diff)
		}
		if err := w.update(func(tx *db.Tx) error { return w.store.DeleteTx(tx, owner, "org_a", on) }); err != nil {
			t.Fatal(err)
		}
		_, err = w.open(on)
		wantKind(t, err, problem.NotFound)
		if n := len(w.actions()); n != 3 {
			t.Errorf("%d audit entries: a refused reading is not one, a deletion is", n)
		}
	})
}

func TestSealedAtRestAndBounded(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 7)
		r := w.recorder(RecorderOptions{})
		long := bytes.Repeat([]byte("word "), Limit) // five times what is kept
		id := w.event()
		r.Record(id, "org_a", []byte("a very private prompt"), long)
		waitFor(t, func() bool { return w.rows() == 1 })
		err := w.db.View(context.Background(), func(tx *db.Tx) error {
			var request, answer []byte
			err := tx.QueryRow(`SELECT request, answer FROM recorded_content`).Scan(&request, &answer)
			if bytes.Contains(request, []byte("private")) || bytes.Contains(answer, []byte("word ")) {
				t.Error("content lies open in the table")
			}
			if len(answer) > Limit+200 {
				t.Errorf("%d bytes are kept", len(answer))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.open(id)
		if err != nil || !bytes.Equal(c.Answer, long[:Limit]) || !c.AnswerCut || c.RequestCut {
			t.Errorf("%v: %d bytes, cut %v, %v", err, len(c.Answer), c.RequestCut, c.AnswerCut)
		}
		// Moved to another call, it does not open.
		other := w.event()
		if err := w.update(func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE recorded_content SET event = $1`, other)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, err = w.open(other)
		wantKind(t, err, problem.Conflict)
	})
}

// TestOffIsOff: a recorder that has not heard of the switch yet writes nothing all the same.
func TestOffIsOff(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 7)
		r := w.recorder(RecorderOptions{})
		elsewhere := New(w.db, w.sealer()) // another process: it cannot wake the recorder
		if err := w.update(func(tx *db.Tx) error {
			_, err := elsewhere.SetTx(tx, owner, "org_a", false, 7, 0)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !r.Wants("org_a") {
			t.Fatal("it heard already")
		}
		r.Record(w.event(), "org_a", []byte("x"), nil)
		r.Stop(context.Background())
		if n := w.rows(); n != 0 || r.Dropped() != 0 {
			t.Errorf("%d rows, %d dropped", n, r.Dropped())
		}
	})
}

func TestFollowsOtherProcesses(t *testing.T) {
	each(t, func(w *world) {
		r := NewRecorder(w.store, RecorderOptions{Poll: 10 * time.Millisecond})
		if err := r.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer r.Stop(context.Background())
		elsewhere := New(w.db, w.sealer())
		for _, on := range []bool{true, false} {
			if err := w.update(func(tx *db.Tx) error { _, err := elsewhere.SetTx(tx, owner, "org_a", on, 7, 0); return err }); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return r.Wants("org_a") == on })
		}
	})
}

func TestRetentionAndErasure(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 10)
		r := w.recorder(RecorderOptions{})
		record := func() string {
			n, id := w.rows(), w.event()
			r.Record(id, "org_a", []byte("x"), []byte("y"))
			waitFor(t, func() bool { return w.rows() == n+1 })
			return id
		}
		sweep := func() {
			t.Helper()
			if more, err := w.store.Sweep(context.Background()); more || err != nil {
				t.Fatal(more, err)
			}
		}
		first := record()
		w.clock.Advance(6 * 24 * time.Hour)
		second := record()
		w.clock.Advance(4*24*time.Hour - time.Second)
		sweep()
		if _, err := w.open(first); err != nil {
			t.Error(err)
		}
		w.clock.Advance(2 * time.Second)
		_, err := w.open(first)
		wantKind(t, err, problem.NotFound)
		sweep()
		if w.rows() != 1 {
			t.Error("expired content was not deleted")
		}
		w.set(false, 3) // switched off, with a shorter retention: it holds for what is there
		waitFor(t, func() bool { return !r.Wants("org_a") })
		_, err = w.open(second)
		wantKind(t, err, problem.NotFound)
		sweep()
		if w.rows() != 0 {
			t.Error("the shorter retention does not hold")
		}
		w.set(true, 10)
		waitFor(t, func() bool { return r.Wants("org_a") })
		third, running := record(), w.event()
		w.clock.Advance(time.Second)
		if err := w.update(func(tx *db.Tx) error { _, err := w.store.EraseTx(tx, owner, "org_a"); return err }); err != nil {
			t.Fatal(err)
		}
		_, err = w.open(third)
		wantKind(t, err, problem.NotFound)
		r.Record(running, "org_a", []byte("x"), nil)
		w.clock.Advance(time.Second)
		last := record()
		_, err = w.open(running)
		wantKind(t, err, problem.NotFound)
		if _, err := w.open(last); err != nil {
			t.Error("recording did not go on:", err)
		}
		sweep()
		if w.rows() != 1 {
			t.Error("erased content was not deleted")
		}
	})
}

func TestSweepInParts(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 1)
		r := w.recorder(RecorderOptions{})
		for range sweepRows + 5 {
			r.Record(w.event(), "org_a", nil, nil)
		}
		waitFor(t, func() bool { return w.rows() == sweepRows+5 })
		w.clock.Advance(25 * time.Hour)
		for _, want := range []bool{true, false} {
			if more, err := w.store.Sweep(context.Background()); more != want || err != nil {
				t.Fatal(more, err)
			}
		}
		if w.rows() != 0 {
			t.Error("content is left")
		}
	})
}

func TestSwitch(t *testing.T) {
	each(t, func(w *world) {
		set := func(enabled bool, days, version int64) (sw Switch, err error) {
			err = w.update(func(tx *db.Tx) error { sw, err = w.store.SetTx(tx, owner, "org_a", enabled, days, version); return err })
			return sw, err
		}
		for _, days := range []int64{0, -1, 366} {
			_, err := set(true, days, 0)
			wantKind(t, err, problem.Unprocessable)
		}
		sw, err := set(true, 365, 1)
		if err != nil || sw.Version != 2 || sw.By != "usr_o" {
			t.Fatal(sw, err)
		}
		_, err = set(false, 1, 1)
		wantKind(t, err, problem.Precondition)
		if err := w.db.View(context.Background(), func(tx *db.Tx) error { sw, err = w.store.SwitchTx(tx, "org_a"); return err }); err != nil || !sw.Enabled || sw.Days != 365 {
			t.Error(sw, err)
		}
		if err := w.db.View(context.Background(), func(tx *db.Tx) error { sw, err = w.store.SwitchTx(tx, "org_b"); return err }); err != nil || sw.Enabled || sw.Version != 1 {
			t.Error(sw, err)
		}
	})
}

// TestNeverWaits: with the database stuck, calls go on; what does not fit is dropped and counted.
func TestNeverWaits(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 7)
		r := w.recorder(RecorderOptions{Queue: 100})
		held, release := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- w.update(func(tx *db.Tx) error {
				_, err := read(tx, "org_a", tx.Dialect().ForUpdate()) // on SQLite the writer's turn alone holds
				close(held)
				<-release
				return err
			})
		}()
		<-held
		for range 10 {
			r.Record(w.event(), "org_a", []byte(strings.Repeat("x", 15)), []byte("12345"))
		}
		if n := r.Dropped(); n != 5 {
			t.Errorf("%d dropped of 10 with room for 5", n)
		}
		close(release)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return w.rows() == 5 })
		r.Record(w.event(), "org_a", []byte("again"), nil)
		waitFor(t, func() bool { return w.rows() == 6 })
	})
}

func TestStopWritesWhatWaits(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 7)
		r := w.recorder(RecorderOptions{})
		for range 20 {
			r.Record(w.event(), "org_a", bytes.Repeat([]byte("x"), Limit), nil)
		}
		r.Stop(context.Background())
		r.Record(w.event(), "org_a", nil, nil)
		if n := w.rows(); n != 20 || r.Dropped() != 1 {
			t.Errorf("%d rows, %d dropped", n, r.Dropped())
		}
	})
}

func TestReseal(t *testing.T) {
	each(t, func(w *world) {
		w.set(true, 7)
		r := w.recorder(RecorderOptions{})
		ids := make([]string, 23) // more than one transaction seals anew
		for i := range ids {
			ids[i] = w.event()
			r.Record(ids[i], "org_a", []byte(ids[i]), []byte("answer"))
		}
		waitFor(t, func() bool { return w.rows() == len(ids) })
		old := w.sealer().KeyIDs()[0]
		w.ring = secret.Generate().Reveal() + "\n" + w.ring
		w.store = New(w.db, w.sealer())
		if n, err := w.store.Reseal(context.Background()); n != len(ids) || err != nil {
			t.Fatal(n, err)
		}
		var counts map[string]int64
		if err := w.db.View(context.Background(), func(tx *db.Tx) (err error) { counts, err = w.store.SealedTx(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int64{w.sealer().KeyIDs()[0]: int64(len(ids))}, counts); diff != "" || counts[old] != 0 {
			t.Error(diff)
		}
		w.ring, _, _ = strings.Cut(w.ring, "\n") // the old key is dropped
		w.store = New(w.db, w.sealer())
		if c, err := w.open(ids[3]); err != nil || string(c.Request) != ids[3] || string(c.Answer) != "answer" {
			t.Error(c, err)
		}
		if n, err := w.store.Reseal(context.Background()); n != 0 || err != nil {
			t.Error(n, err)
		}
	})
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("waited in vain")
		}
	}
}
