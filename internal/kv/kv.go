// Package kv keeps what several nodes share for speed: rate limits, counters, values and leases
// that expire. In one process it is memory, for several it is Redis or Valkey.
//
// It is never a source of truth: everything in it may vanish at any moment, and whoever uses it
// must then be slower or more generous, not wrong. Nothing here retries: an operation happens at
// most once, and on an error it may or may not have happened.
package kv

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
)

// Store is implemented by memory and by Redis. All methods are safe for concurrent use. Durations
// count in milliseconds at the finest; a duration that must be positive and is not is an error.
type Store interface {
	// Take charges all limits, or none if one of them refuses. The grants are in the order of the
	// limits and tell where each one stands afterwards. It is atomic, also between nodes.
	Take(ctx context.Context, limits []Limit) (grants []Grant, ok bool, err error)

	// Incr adds by, which may be negative, to a counter and returns the sum. A counter that does
	// not exist begins at zero and expires ttl later; adding does not prolong its life.
	Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error)

	// Get returns a value, and whether there is one. The caller owns it.
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)

	// Set keeps a copy of value for ttl.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Del removes values, counters or limits. A key that does not exist is no error.
	Del(ctx context.Context, keys ...string) error

	// Acquire takes the lease named key for the holder named token, or prolongs it if the holder
	// has it. It returns false if another holder has it.
	Acquire(ctx context.Context, key, token string, ttl time.Duration) (bool, error)

	// Release gives the lease up. It returns false if token is not its holder.
	Release(ctx context.Context, key, token string) (bool, error)

	// Ping tells whether the store can be reached.
	Ping(ctx context.Context) error

	Close() error
}

// Limit is one rate limit and what is to be charged to it: Rate units in every Per, of which Burst
// may come at once (generic cell rate algorithm, GCRA).
type Limit struct {
	Key   string
	Rate  int64
	Per   time.Duration
	Burst int64
	Cost  int64 // negative gives back; above Burst it counts as Burst, or it would never pass
	Force bool  // charge even if that exceeds the limit: the cost has been incurred already
}

// Grant is where a limit stands after a Take.
type Grant struct {
	OK         bool          // this limit had room; all must have for the Take to be charged
	Remaining  int64         // units that could come at once now
	Reset      time.Duration // until the limit is as if unused
	RetryAfter time.Duration // until the cost has room, if it had none and nobody else comes
}

// Open opens the store that url names: "" or "memory:" for memory, "redis://…" or "rediss://…" for
// Redis. c is the clock of the memory store.
func Open(ctx context.Context, url string, c clock.Clock) (Store, error) {
	switch {
	case url == "" || url == "memory:":
		return NewMemory(c), nil
	case strings.HasPrefix(url, "redis://") || strings.HasPrefix(url, "rediss://"):
		return OpenRedis(ctx, url, RedisOptions{})
	}
	return nil, fmt.Errorf("kv: the shared store must be given as redis://host:port or rediss://host:port")
}

// micros is a duration in microseconds, the unit of the limits' arithmetic.
func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// epoch is where limits count time from. Near it, a float64 of microseconds is exact to some
// thousandths, so that limits of a billion units a minute keep their rate.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func sinceEpoch(t time.Time) float64 { return micros(t.Sub(epoch)) }

// slack absorbs rounding, in microseconds.
const slack = 0.5

// gcra charges l at now, where tat is the theoretical arrival time: when all that was charged so far
// will have been worked off. It returns the new one. The script of the Redis store does the same.
func gcra(now, tat float64, l Limit) (float64, Grant) {
	interval := micros(l.Per) / float64(l.Rate)
	if !l.Force {
		l.Cost = min(l.Cost, l.Burst)
	}
	tat = max(tat, now)
	next := max(tat+float64(l.Cost)*interval, now)
	over := next - (now + float64(l.Burst)*interval)
	if over > slack && l.Cost > 0 && !l.Force {
		g := grant(now, tat, interval, l.Burst)
		g.RetryAfter = duration(over)
		return tat, g
	}
	g := grant(now, next, interval, l.Burst)
	g.OK = true
	return next, g
}

func grant(now, tat, interval float64, burst int64) Grant {
	room := (now + float64(burst)*interval - tat + slack) / interval
	return Grant{Remaining: max(0, min(burst, int64(room))), Reset: duration(tat - now)}
}

// duration rounds microseconds up.
func duration(us float64) time.Duration {
	d := time.Duration(us * 1e3)
	if rest := d % time.Microsecond; rest > 0 {
		d += time.Microsecond - rest
	}
	return d
}

func (l Limit) check() error {
	if l.Key == "" || l.Rate <= 0 || l.Per <= 0 || l.Burst <= 0 {
		return fmt.Errorf("kv: limit %q: rate, period and burst must be positive", l.Key)
	}
	return nil
}

func checkTTL(key string, ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("kv: %q: a life of %v is too short", key, ttl)
	}
	return nil
}
