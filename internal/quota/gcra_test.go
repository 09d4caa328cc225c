package quota

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle is a bucket in exact fractions of units, slow and plain.
type oracle struct {
	level *big.Rat
	at    int64
}

func units(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func newOracle() *oracle { return &oracle{level: new(big.Rat)} }

func (o *oracle) perMicro(r Rate) *big.Rat {
	return big.NewRat(r.Limit, int64(r.Period/time.Microsecond))
}

func (o *oracle) drain(r Rate, now int64) {
	if now > o.at {
		o.level.Sub(o.level, new(big.Rat).Mul(units(now-o.at), o.perMicro(r)))
		if o.level.Sign() < 0 {
			o.level = new(big.Rat)
		}
		o.at = now
	}
}

func burstOf(r Rate) int64 {
	if r.Burst > 0 {
		return r.Burst
	}
	return r.Limit
}

func (o *oracle) take(r Rate, n, now int64, commit bool) Decision {
	o.drain(r, now)
	n = min(n, burstOf(r))
	after := new(big.Rat).Add(o.level, units(n))
	over := new(big.Rat).Sub(after, units(burstOf(r)))
	if over.Sign() > 0 {
		return Decision{Remaining: floor(new(big.Rat).Sub(units(burstOf(r)), o.level)),
			Reset: o.until(o.level, r), Wait: o.until(over, r)}
	}
	if commit {
		o.level = after
	}
	return Decision{OK: true, Remaining: floor(new(big.Rat).Neg(over)), Reset: o.until(after, r)}
}

// until is the time in which level drains, rounded up to a microsecond.
func (o *oracle) until(level *big.Rat, r Rate) time.Duration {
	q := new(big.Rat).Quo(level, o.perMicro(r))
	return time.Duration(-floor(q.Neg(q))) * time.Microsecond
}

// floor rounds towards minus infinity; Div is Euclidean and denominators are positive.
func floor(q *big.Rat) int64 { return new(big.Int).Div(q.Num(), q.Denom()).Int64() }

func clampZero(d Decision) Decision {
	d.Remaining = max(d.Remaining, 0)
	return d
}

func drawRate(t *rapid.T) Rate {
	return Rate{
		Limit:  rapid.Int64Range(1, 1_000_000).Draw(t, "limit"),
		Period: time.Duration(rapid.SampledFrom([]int64{1, 7, 1000, 1_000_000, 60_000_000}).Draw(t, "period")) * time.Microsecond,
		Burst:  rapid.SampledFrom([]int64{0, 1, 3, 1000, 5_000_000}).Draw(t, "burst"),
	}
}

// Every decision of a bucket, refunds and debts included, equals the exact oracle's.
func TestBucketAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, o := drawRate(t), newOracle()
		var b Bucket
		type open struct {
			n     int64
			taken Bucket
			level *big.Rat
			at    int64
		}
		var opens []open
		now := int64(1)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.SampledFrom([]int64{0, 1, 5, 1000, 500_000, 61_000_000}).Draw(t, "advance")
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				n := rapid.Int64Range(0, 2*burstOf(r)).Draw(t, "n")
				want := clampZero(o.take(r, n, now, true))
				var got Decision
				if b, got = b.Take(r, n, now); got != want {
					t.Fatalf("take %d of %+v: %+v, want %+v", n, r, got, want)
				}
				if got.OK {
					opens = append(opens, open{min(n, burstOf(r)), b, new(big.Rat).Set(o.level), now})
				}
			case 2:
				n := rapid.Int64Range(0, 3*burstOf(r)).Draw(t, "debt")
				b = b.Add(r, n, now)
				o.drain(r, now)
				o.level.Add(o.level, units(n))
			case 3:
				if len(opens) == 0 {
					continue
				}
				p := opens[0]
				opens = opens[1:]
				n := rapid.Int64Range(0, p.n).Draw(t, "refund")
				b = b.Refund(r, n, p.taken, now)
				o.drain(r, now)
				still := &oracle{level: p.level, at: p.at}
				still.drain(r, now)
				back := units(n)
				if still.level.Cmp(back) < 0 {
					back = still.level
				}
				o.level.Sub(o.level, back)
				if o.level.Sign() < 0 {
					o.level = new(big.Rat)
				}
			}
		}
	})
}

// Whatever callers do, no window gets more than the burst and what the rate gives for its length.
func TestBucketEnvelope(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRate(t)
		type spent struct{ at, n int64 }
		var all []spent
		var b Bucket
		now := int64(1)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, 2*int64(r.Period/time.Microsecond)).Draw(t, "advance")
			n := rapid.Int64Range(1, burstOf(r)).Draw(t, "n")
			next, d := b.Take(r, n, now)
			if b = next; !d.OK {
				// A caller who waits as told gets it, one who waits less does not.
				wait := int64(d.Wait / time.Microsecond)
				if _, d := b.Take(r, n, now+wait); !d.OK {
					t.Fatalf("waited %v in vain", d.Wait)
				}
				if _, d := b.Take(r, n, now+wait-1); d.OK {
					t.Fatal("the wait was too long")
				}
				continue
			}
			all = append(all, spent{now, n})
			sum := int64(0)
			for i := len(all) - 1; i >= 0; i-- {
				sum += all[i].n
				allowed := new(big.Rat).Mul(newOracle().perMicro(r), units(now-all[i].at))
				if units(sum).Cmp(allowed.Add(allowed, units(burstOf(r)))) > 0 {
					t.Fatalf("%d units since %d µs ago at %+v", sum, now-all[i].at, r)
				}
			}
		}
	})
}

func TestBucketExtremes(t *testing.T) {
	huge := Rate{Limit: math.MaxInt64, Period: time.Hour, Burst: math.MaxInt64}
	b, d := Bucket{}.Take(huge, math.MaxInt64, 1)
	if !d.OK || b.Level < 0 || d.Reset < 0 {
		t.Errorf("%+v %+v", b, d)
	}
	b = b.Add(huge, math.MaxInt64, 2).Add(huge, math.MaxInt64, 3)
	if b.Level != maxLevel {
		t.Errorf("a debt saturates: %+v", b)
	}
	if _, d = b.Take(PerMinute(1), math.MaxInt64, 4); d.OK || d.Wait <= 0 || d.Remaining != 0 {
		t.Errorf("%+v", d)
	}
	b, _ = Bucket{}.Take(PerMinute(2), 2, 100)
	if got, d := b.Take(PerMinute(2), 1, 50); d.OK || got != b {
		t.Error("a clock that goes back gives nothing")
	}
	if b, d = b.Take(PerMinute(2), 1, math.MaxInt64); !d.OK || b.Level != 60_000_000 {
		t.Error("long idle empties the bucket")
	}
	if b.Refund(PerMinute(2), math.MaxInt64, b, math.MaxInt64).Level != 0 {
		t.Error("a refund does not go below empty")
	}
}

// The case that a plain refund gets wrong: a long call with a high estimate must not free a second burst.
func TestRefundGivesNothingTwice(t *testing.T) {
	r := PerMinute(100)
	minute := int64(60_000_000)
	long, _ := Bucket{}.Take(r, 100, 0)
	b, d := long.Take(r, 100, minute) // the estimate has drained meanwhile
	if !d.OK {
		t.Fatal(d)
	}
	if b = b.Refund(r, 100, long, minute); b.Level != 100*minute {
		t.Fatalf("level %d", b.Level)
	}
}
