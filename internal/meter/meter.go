// Package meter keeps what was used: one usage event for each call, and rollups by the hour that are
// kept in the same transaction, so that a sum never scans events.
//
// It does not rate and moves no money: settle writes events with the charge they were posted with.
// Invariant: the sum over events equals the sum over rollups, for each organisation and currency;
// [Verify] checks it.
package meter

import (
	"cmp"
	"embed"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "meter", FS: files}

// Classes is the number of token classes.
const Classes = 7

// ClassNames are the token classes in the order of Event.Usage; they are disjoint.
var ClassNames = [Classes]string{"input", "cached_input", "cache_write", "output", "reasoning", "audio_input", "audio_output"}

// Flags of an event.
const (
	FlagStream      = 1 // the answer was a stream
	FlagEstimated   = 2 // tokens were counted here: the upstream gave no usage
	FlagProvisional = 4 // rated by the settler; the response could only say a provisional figure
	FlagUncharged   = 8 // worth more than its hold; Excess was not charged
)

// Event is one call as it was charged.
type Event struct {
	ID                            string // evt_…
	At                            int64  // when its OPEN was made, UTC microseconds
	Org, Key                      string // who called
	Provider, Product, Version    string // whose API, which one
	Upstream                      string
	Subscription, PlanVersion     string
	Model, Outcome                string
	Status, Flags, Attempts       int64
	Currency                      string
	Charge                        int64 // nano-units, posted
	Commission                    int64 // the platform's part of Charge
	Hold, Excess                  int64 // nano-units: reserved before; worth above it, not charged
	Usage                         [Classes]int64
	Meter                         string // of a capability's call; "" for a language model's
	Units                         int64  // thousandths of Meter's unit
	BytesIn, BytesOut             int64
	Duration, FirstByte           int64 // microseconds
	RequestDigest, ResponseDigest []byte
	Txn                           string // the ledger transaction of its batch
}

// Failed reports whether the call gave its caller no usable answer.
func (e *Event) Failed() bool {
	return e.Status >= 400 || e.Outcome == "failed" || e.Outcome == "upstream_lost"
}

var eventCols = []string{"id", "at", "org", "api_key", "provider", "product", "version", "upstream", "subscription", "plan_version",
	"model", "outcome", "status", "flags", "attempts", "currency", "charge", "commission", "hold", "excess",
	"input", "cached_input", "cache_write", "output", "reasoning", "audio_input", "audio_output",
	"bytes_in", "bytes_out", "duration", "first_byte", "request_digest", "response_digest", "txn", "meter", "units"}

// Known returns which of the event ids are in the table already.
func Known(tx *db.Tx, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	rows, err := tx.Query(`SELECT id FROM usage_event WHERE id`+tx.Dialect().In("$1"), ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		known[id] = true
	}
	return known, rows.Err()
}

// Insert writes events and adds them to the rollups, within tx. None may be in the table (see Known):
// a duplicate fails the transaction.
func Insert(tx *db.Tx, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	if _, _, err := tx.InsertRows("usage_event", eventCols, columns(events), ""); err != nil {
		return err
	}
	if err := addRollups(tx, events); err != nil {
		return err
	}
	return addUnits(tx, events)
}

// columns turns events into one slice per column, in the order of eventCols.
func columns(events []Event) []any {
	n := len(events)
	texts := make([][]string, 14)
	ints := make([][]int64, 20)
	allTexts, allInts := make([]string, n*len(texts)), make([]int64, n*len(ints))
	for i := range texts {
		texts[i] = allTexts[i*n:][:n]
	}
	for i := range ints {
		ints[i] = allInts[i*n:][:n]
	}
	req, resp := make([][]byte, n), make([][]byte, n)
	for i := range events {
		e := &events[i]
		for k, v := range [...]string{e.ID, e.Org, e.Key, e.Provider, e.Product, e.Version, e.Upstream, e.Subscription, e.PlanVersion, e.Model, e.Outcome, e.Currency, e.Txn, e.Meter} {
			texts[k][i] = v
		}
		for k, v := range [...]int64{e.At, e.Status, e.Flags, e.Attempts, e.Charge, e.Commission, e.Hold, e.Excess,
			e.Usage[0], e.Usage[1], e.Usage[2], e.Usage[3], e.Usage[4], e.Usage[5], e.Usage[6], e.BytesIn, e.BytesOut, e.Duration, e.FirstByte, e.Units} {
			ints[k][i] = v
		}
		req[i], resp[i] = e.RequestDigest, e.ResponseDigest
	}
	data := []any{texts[0], ints[0]}
	for _, t := range texts[1:11] {
		data = append(data, t)
	}
	data = append(data, ints[1], ints[2], ints[3], texts[11])
	for _, c := range ints[4:19] {
		data = append(data, c)
	}
	return append(data, req, resp, texts[12], texts[13], ints[19])
}

const hour = int64(3600) * 1e6

type rollupKey struct {
	hour                                         int64
	org, key, provider, product, model, currency string
}

// sums are the added-up columns of a rollup, in the order of sumCols.
type sums [5 + Classes]int64

var rollupCols = []string{"hour", "org", "api_key", "provider", "product", "model", "currency",
	"events", "failures", "charge", "commission", "input", "cached_input", "cache_write", "output", "reasoning", "audio_input", "audio_output", "duration"}

const rollupUpsert = `ON CONFLICT (org, hour, api_key, provider, product, model, currency) DO UPDATE SET
	events = usage_rollup.events + excluded.events, failures = usage_rollup.failures + excluded.failures,
	charge = usage_rollup.charge + excluded.charge, commission = usage_rollup.commission + excluded.commission,
	input = usage_rollup.input + excluded.input, cached_input = usage_rollup.cached_input + excluded.cached_input,
	cache_write = usage_rollup.cache_write + excluded.cache_write, output = usage_rollup.output + excluded.output,
	reasoning = usage_rollup.reasoning + excluded.reasoning, audio_input = usage_rollup.audio_input + excluded.audio_input,
	audio_output = usage_rollup.audio_output + excluded.audio_output, duration = usage_rollup.duration + excluded.duration`

func addRollups(tx *db.Tx, events []Event) error {
	by := map[rollupKey]*sums{}
	var keys []rollupKey
	for i := range events {
		e := &events[i]
		k := rollupKey{e.At - e.At%hour, e.Org, e.Key, e.Provider, e.Product, e.Model, e.Currency}
		s := by[k]
		if s == nil {
			s = new(sums)
			by[k] = s
			keys = append(keys, k)
		}
		s[0]++
		if e.Failed() {
			s[1]++
		}
		s[2] += e.Charge
		s[3] += e.Commission
		for c, n := range e.Usage {
			s[4+c] += n
		}
		s[4+Classes] += e.Duration
	}
	slices.SortFunc(keys, rollupKey.compare) // one order for all writers, so that they cannot deadlock
	texts := make([][]string, 6)
	ints := make([][]int64, 1+len(sums{}))
	for _, k := range keys {
		ints[0] = append(ints[0], k.hour)
		for i, v := range [...]string{k.org, k.key, k.provider, k.product, k.model, k.currency} {
			texts[i] = append(texts[i], v)
		}
		for i, v := range by[k] {
			ints[1+i] = append(ints[1+i], v)
		}
	}
	data := []any{ints[0]}
	for _, t := range texts {
		data = append(data, t)
	}
	for _, c := range ints[1:] {
		data = append(data, c)
	}
	_, _, err := tx.InsertRows("usage_rollup", rollupCols, data, rollupUpsert)
	return err
}

// unitKey names a row of the rollup of units.
type unitKey struct {
	rollupKey
	meter string
}

// addUnits adds what capabilities' calls used to its rollup. Most batches have none.
func addUnits(tx *db.Tx, events []Event) error {
	var keys []unitKey
	by := map[unitKey]int64{}
	for i := range events {
		e := &events[i]
		if e.Meter == "" {
			continue
		}
		k := unitKey{rollupKey{e.At - e.At%hour, e.Org, e.Key, e.Provider, e.Product, e.Model, e.Currency}, e.Meter}
		if _, ok := by[k]; !ok {
			keys = append(keys, k)
		}
		by[k] += e.Units
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, func(a, b unitKey) int {
		return cmp.Or(a.rollupKey.compare(b.rollupKey), cmp.Compare(a.meter, b.meter))
	})
	var hours, units []int64
	texts := make([][]string, 7)
	for _, k := range keys {
		hours, units = append(hours, k.hour), append(units, by[k])
		for i, v := range [...]string{k.org, k.key, k.provider, k.product, k.model, k.currency, k.meter} {
			texts[i] = append(texts[i], v)
		}
	}
	data := []any{hours}
	for _, t := range texts {
		data = append(data, t)
	}
	_, _, err := tx.InsertRows("usage_unit", unitCols, append(data, units), unitUpsert)
	return err
}

var unitCols = []string{"hour", "org", "api_key", "provider", "product", "model", "currency", "meter", "units"}

const unitUpsert = `ON CONFLICT (org, hour, api_key, provider, product, model, currency, meter) DO UPDATE SET units = usage_unit.units + excluded.units`
