package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/tollgate-io/tollgate/internal/db"
)

// Kind says what a record marks.
type Kind uint8

// The kinds of record.
const (
	KindOpen  Kind = 1 // a request is about to spend
	KindClose Kind = 2 // what it used and what is charged for it
)

// Outcome says how a request ended.
type Outcome uint8

// The outcomes. Interrupted is also given by recovery to an OPEN that has no CLOSE.
const (
	Completed    Outcome = 1 // the whole answer was delivered
	ClientGone   Outcome = 2 // the client left; what was delivered is charged
	UpstreamLost Outcome = 3 // the upstream broke off or failed
	Cut          Outcome = 4 // stopped at the hold
	Interrupted  Outcome = 5 // the process died, or stopped before the answer was complete
	Failed       Outcome = 6 // no usable answer; nothing is charged
)

var outcomeNames = [...]string{"", "completed", "client_gone", "upstream_lost", "cut", "interrupted", "failed"}

// String gives the outcome as it stands in the database and in JSON.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Flags are facts of a request that take one bit each.
type Flags uint8

// The flags.
const (
	Stream      Flags = 1 << iota // the answer was a stream
	Estimated                     // the upstream gave no usage; tokens were counted here
	Provisional                   // the settler rates the usage; Charge is what the response said
	Uncharged                     // the usage was worth more than the hold; Excess says by how much
)

// MaxLeases bounds the leases that one hold takes from: the wallet's and those of its budgets.
const MaxLeases = 6

// MaxModel bounds the model name kept in a record, in bytes; a longer name is cut.
const MaxModel = 128

// MaxMeter bounds the name of a meter, in bytes; a longer name is cut.
const MaxMeter = 32

// Classes is the number of token classes, in the order of llm.Usage and of rating.
const Classes = 7

// Record is one entry of the spool. An OPEN fills the identity, Time, Hold, Slot and Leases; a
// CLOSE repeats them, so that it settles without its OPEN, and adds the rest.
type Record struct {
	Kind    Kind
	Flags   Flags
	Outcome Outcome
	Status  uint16 // HTTP status that the client saw
	Slot    int32  // progress slot, -1 for none
	Seq     uint64 // number within the epoch, assigned by Append of the OPEN
	OpenSeg uint32 // segment of the OPEN, assigned by Append
	Time    int64  // when the OPEN was made, UTC microseconds: the event's time

	Event, Org, Key, Provider, Product, Version db.UUID
	Subscription, PlanVersion, Upstream         db.UUID

	Hold   int64 // nano-units
	Leases [MaxLeases]db.UUID
	NLease uint8
	Model  string
	Meter  string // of a capability's call, which is measured in units; "" for a language model's

	// From here on in a CLOSE alone.
	Charge                        int64 // nano-units, at most Hold
	Excess                        int64 // nano-units above Hold that are not charged
	Usage                         [Classes]int64
	Units                         int64 // thousandths of Meter's unit
	BytesIn, BytesOut             int64
	Duration, FirstByte           int64 // microseconds from Time
	Attempts                      uint8
	RequestDigest, ResponseDigest [32]byte
}

const (
	frame      = 8 // length and CRC-32C before each payload
	fixedOpen  = 4 + 4 + 8 + 4 + 8 + 9*16 + 8 + 1
	fixedClose = fixedOpen + 2 + 8*(2+Classes+4) + 1 + 64
	maxOpen    = frame + fixedOpen + MaxLeases*16 + MaxModel + unitTail
	maxClose   = frame + fixedClose + MaxLeases*16 + MaxModel + unitTail
	unitTail   = 1 + MaxMeter + 8 // only where there is a Meter: records without one are as they were before there were any
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errCorrupt = errors.New("spool: record does not decode")

var le = binary.LittleEndian

// appendRecord appends the framed record to b.
func appendRecord(b []byte, r *Record) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, byte(r.Kind), byte(r.Flags), byte(r.Outcome), r.NLease)
	b = le.AppendUint32(b, uint32(r.Slot))
	b = le.AppendUint64(b, r.Seq)
	b = le.AppendUint32(b, r.OpenSeg)
	b = le.AppendUint64(b, uint64(r.Time))
	for _, id := range [...]*db.UUID{&r.Event, &r.Org, &r.Key, &r.Provider, &r.Product, &r.Version, &r.Subscription, &r.PlanVersion, &r.Upstream} {
		b = append(b, id[:]...)
	}
	b = le.AppendUint64(b, uint64(r.Hold))
	for i := range r.Leases[:r.NLease] {
		b = append(b, r.Leases[i][:]...)
	}
	model := r.Model
	if len(model) > MaxModel {
		model = model[:MaxModel]
	}
	b = append(b, byte(len(model)))
	b = append(b, model...)
	if r.Kind == KindClose {
		b = le.AppendUint16(b, r.Status)
		b = le.AppendUint64(b, uint64(r.Charge))
		b = le.AppendUint64(b, uint64(r.Excess))
		for _, n := range r.Usage {
			b = le.AppendUint64(b, uint64(n))
		}
		b = le.AppendUint64(b, uint64(r.BytesIn))
		b = le.AppendUint64(b, uint64(r.BytesOut))
		b = le.AppendUint64(b, uint64(r.Duration))
		b = le.AppendUint64(b, uint64(r.FirstByte))
		b = append(b, r.Attempts)
		b = append(b, r.RequestDigest[:]...)
		b = append(b, r.ResponseDigest[:]...)
	}
	if r.Meter != "" {
		m := r.Meter[:min(len(r.Meter), MaxMeter)]
		b = append(append(b, byte(len(m))), m...)
		b = le.AppendUint64(b, uint64(r.Units))
	}
	payload := b[start+frame:]
	le.PutUint32(b[start:], uint32(len(payload)))
	le.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// decoder reads fields off the front of a payload; bad is set once it runs short.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.bad = true
		d.b = nil
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte   { return d.take(1)[0] }
func (d *decoder) i64() int64 { return int64(le.Uint64(d.take(8))) }

// decode reads one framed record off b and returns the rest. ok is false where b holds no whole,
// intact record: the end of what was written.
func decode(b []byte, r *Record) (n int, ok bool, err error) {
	if len(b) < frame {
		return 0, false, nil
	}
	size := int(le.Uint32(b))
	if size < fixedOpen || size > maxClose || len(b) < frame+size {
		return 0, false, nil
	}
	payload := b[frame : frame+size]
	if crc32.Checksum(payload, castagnoli) != le.Uint32(b[4:]) {
		return 0, false, nil
	}
	if err := decodePayload(payload, r); err != nil {
		return 0, false, err
	}
	return frame + size, true, nil
}

func decodePayload(payload []byte, r *Record) error {
	d := decoder{b: payload}
	*r = Record{Kind: Kind(d.u8()), Flags: Flags(d.u8()), Outcome: Outcome(d.u8()), NLease: d.u8()}
	if r.Kind != KindOpen && r.Kind != KindClose || r.NLease > MaxLeases {
		return errCorrupt
	}
	r.Slot = int32(le.Uint32(d.take(4)))
	r.Seq = le.Uint64(d.take(8))
	r.OpenSeg = le.Uint32(d.take(4))
	r.Time = d.i64()
	for _, id := range [...]*db.UUID{&r.Event, &r.Org, &r.Key, &r.Provider, &r.Product, &r.Version, &r.Subscription, &r.PlanVersion, &r.Upstream} {
		copy(id[:], d.take(16))
	}
	r.Hold = d.i64()
	for i := range r.Leases[:r.NLease] {
		copy(r.Leases[i][:], d.take(16))
	}
	r.Model = string(d.take(int(d.u8())))
	if r.Kind == KindClose {
		r.Status = le.Uint16(d.take(2))
		r.Charge = d.i64()
		r.Excess = d.i64()
		for i := range r.Usage {
			r.Usage[i] = d.i64()
		}
		r.BytesIn, r.BytesOut = d.i64(), d.i64()
		r.Duration, r.FirstByte = d.i64(), d.i64()
		r.Attempts = d.u8()
		copy(r.RequestDigest[:], d.take(32))
		copy(r.ResponseDigest[:], d.take(32))
	}
	if !d.bad && len(d.b) > 0 {
		r.Meter = string(d.take(int(d.u8())))
		r.Units = d.i64()
	}
	if d.bad || len(d.b) != 0 {
		return errCorrupt
	}
	return nil
}
