package quota

import (
	"math"
	"math/bits"
	"time"
)

// Rate allows Limit units in each Period, spent evenly or in bursts of up to Burst. The zero value
// allows everything.
type Rate struct {
	Limit  int64
	Period time.Duration // whole microseconds
	Burst  int64         // zero means Limit
}

// PerMinute returns the rate of n units a minute; n <= 0 allows everything.
func PerMinute(n int64) Rate {
	if n <= 0 {
		return Rate{}
	}
	return Rate{Limit: n, Period: time.Minute}
}

// None reports whether r allows everything.
func (r Rate) None() bool { return r.Limit <= 0 || r.Period < time.Microsecond }

// Bucket is the state of one rate: how full the bucket is, and when that was. The level is in
// unit-microseconds: a unit adds a period's worth of microseconds, and each microsecond drains Limit
// of them, so that all arithmetic is exact in integers. The zero value is an empty bucket.
type Bucket struct {
	Level int64
	At    int64 // microseconds since the Unix epoch
}

// Decision is what a bucket says about a request for units.
type Decision struct {
	OK        bool
	Remaining int64         // units that may be spent at once, after this decision
	Reset     time.Duration // until the bucket is empty and the whole burst is free again
	Wait      time.Duration // if not OK: when the same request would succeed, if nobody else comes
}

// Take decides by the generic cell rate algorithm whether n units conform to r at now, and returns
// the state that follows: the new one if they do, else b drained to now. It is pure.
//
// The form is the "continuous-state leaky bucket", which ITU-T I.371 (Annex A) and ATM Forum TM 4.1
// (§4.4.2) define as equal to virtual scheduling. More units than the burst can never conform; they
// count as one whole burst, so that they pass once the bucket is empty and the rest becomes debt
// when the actual is settled with [Bucket.Add].
func (b Bucket) Take(r Rate, n int64, now int64) (Bucket, Decision) {
	limit, period, burst := r.scaled()
	b = b.drain(limit, now)
	n = min(max(n, 0), burst)
	room := burst*period - b.Level
	if n*period > room {
		return b, b.decision(false, limit, period, room, n*period-room)
	}
	b.Level += n * period
	return b, b.decision(true, limit, period, room-n*period, 0)
}

// Add puts n units into the bucket whether there is room or not.
func (b Bucket) Add(r Rate, n int64, now int64) Bucket {
	limit, period, _ := r.scaled()
	b = b.drain(limit, now)
	if hi, lo := bits.Mul64(uint64(max(n, 0)), uint64(period)); hi != 0 || lo > uint64(maxLevel-b.Level) {
		b.Level = maxLevel
	} else {
		b.Level += int64(lo)
	}
	return b
}

// Refund takes back n of the units that an earlier Take had added, taken being the state that it
// returned. The bucket drains first what came in first, and what has drained since is not given back
// a second time: otherwise a long request with a high estimate would free a second burst.
func (b Bucket) Refund(r Rate, n int64, taken Bucket, now int64) Bucket {
	limit, period, burst := r.scaled()
	b = b.drain(limit, now)
	still := taken.drain(limit, now).Level
	b.Level = max(b.Level-min(min(max(n, 0), burst)*period, still), 0)
	return b
}

// maxLevel bounds debts; it is some 76 billion units of a rate per minute.
const maxLevel = math.MaxInt64 / 2

// scaled returns the rate in integers whose products stay below maxLevel.
func (r Rate) scaled() (limit, period, burst int64) {
	period = max(int64(r.Period/time.Microsecond), 1)
	limit = min(max(r.Limit, 1), maxLevel/period)
	if burst = r.Burst; burst <= 0 {
		burst = limit
	}
	return limit, period, min(burst, maxLevel/period)
}

// drain lets the time since b.At run out of the bucket. A clock that went back drains nothing.
func (b Bucket) drain(limit, now int64) Bucket {
	if now <= b.At {
		return b
	}
	elapsed := now - b.At
	b.At = now
	if elapsed > b.Level/limit { // also keeps the product from overflowing
		b.Level = 0
	} else {
		b.Level -= elapsed * limit
	}
	return b
}

func (b Bucket) decision(ok bool, limit, period, room, missing int64) Decision {
	return Decision{OK: ok, Remaining: max(room, 0) / period,
		Reset: micros(ceilDiv(b.Level, limit)), Wait: micros(ceilDiv(missing, limit))}
}

// clear returns when b will be empty, in microseconds since the epoch.
func (b Bucket) clear(r Rate) int64 {
	limit, _, _ := r.scaled()
	return b.At + ceilDiv(b.Level, limit)
}

func ceilDiv(a, b int64) int64 {
	if a <= 0 {
		return 0
	}
	return (a-1)/b + 1
}

// mulDiv returns a*b/c rounded down, for a, b >= 0 and c > 0; it saturates.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, math.MaxInt64))
}

func micros(us int64) time.Duration {
	return time.Duration(min(us, math.MaxInt64/int64(time.Microsecond))) * time.Microsecond
}
