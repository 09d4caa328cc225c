// Package clock makes time a dependency, so that billing runs, leases and expiries are tested by
// moving it. It does not schedule: loops own their timers.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the present in UTC.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now returns the machine's time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// Manual is a clock that stands still until it is moved. Its zero value stands at the Unix epoch.
type Manual struct{ ns atomic.Int64 }

// NewManual returns a Manual clock that stands at t.
func NewManual(t time.Time) *Manual {
	m := new(Manual)
	m.Set(t)
	return m
}

// Now returns where the clock stands.
func (m *Manual) Now() time.Time { return time.Unix(0, m.ns.Load()).UTC() }

// Set moves the clock to t, forward or back.
func (m *Manual) Set(t time.Time) { m.ns.Store(t.UnixNano()) }

// Advance moves the clock by d.
func (m *Manual) Advance(d time.Duration) { m.ns.Add(int64(d)) }
