package kv

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
)

// Memory is the [Store] of one process. It has no goroutine: expired entries are swept as new ones come.
type Memory struct {
	clock   clock.Clock
	mu      sync.Mutex
	entries map[string]entry
	written int // entries written since the last sweep
	kept    int // entries that the last sweep left
}

type entry struct {
	value   []byte  // of Set and Acquire, and counters in decimal as in Redis
	tat     float64 // of limits
	limit   bool
	expires time.Time
}

// NewMemory returns an empty store.
func NewMemory(c clock.Clock) *Memory {
	return &Memory{clock: c, entries: map[string]entry{}}
}

// Take implements [Store].
func (m *Memory) Take(_ context.Context, limits []Limit) ([]Grant, bool, error) {
	for _, l := range limits {
		if err := l.check(); err != nil {
			return nil, false, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.clock.Now()
	now := sinceEpoch(at)
	grants := make([]Grant, len(limits))
	tats := make([]float64, len(limits))
	ok := true
	for i, l := range limits {
		e, found := m.get(l.Key, at)
		if found && !e.limit {
			return nil, false, wrongKind(l.Key)
		}
		tats[i], grants[i] = gcra(now, e.tat, l)
		ok = ok && grants[i].OK
	}
	if !ok {
		for i, l := range limits {
			if grants[i].OK { // it was not charged after all
				l.Cost = 0
				_, grants[i] = gcra(now, m.entries[l.Key].tat, l)
			}
		}
		return grants, false, nil
	}
	for i, l := range limits {
		if tats[i] <= now {
			delete(m.entries, l.Key)
			continue
		}
		m.put(l.Key, entry{tat: tats[i], limit: true, expires: at.Add(grants[i].Reset)}, at)
	}
	return grants, true, nil
}

// Incr implements [Store].
func (m *Memory) Incr(_ context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	if err := checkTTL(key, ttl); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.clock.Now()
	e, found := m.get(key, at)
	if !found {
		e = entry{value: []byte("0"), expires: at.Add(ttl)}
	}
	n, err := strconv.ParseInt(string(e.value), 10, 64)
	if err != nil || e.limit {
		return 0, wrongKind(key)
	}
	sum := n + by
	if (sum > n) != (by > 0) && by != 0 {
		return 0, fmt.Errorf("kv: counter %q overflows", key)
	}
	e.value = strconv.AppendInt(nil, sum, 10)
	m.put(key, e, at)
	return sum, nil
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.get(key, m.clock.Now())
	if e.limit {
		return nil, false, wrongKind(key)
	}
	return bytes.Clone(e.value), found, nil
}

// Set implements [Store].
func (m *Memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkTTL(key, ttl); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.clock.Now()
	m.put(key, entry{value: append([]byte{}, value...), expires: at.Add(ttl)}, at)
	return nil
}

// Del implements [Store].
func (m *Memory) Del(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		delete(m.entries, k)
	}
	return nil
}

// Acquire implements [Store].
func (m *Memory) Acquire(_ context.Context, key, token string, ttl time.Duration) (bool, error) {
	if err := checkTTL(key, ttl); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.clock.Now()
	if e, found := m.get(key, at); found && string(e.value) != token {
		return false, nil
	}
	m.put(key, entry{value: []byte(token), expires: at.Add(ttl)}, at)
	return true, nil
}

// Release implements [Store].
func (m *Memory) Release(_ context.Context, key, token string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.get(key, m.clock.Now())
	if !found || e.limit || string(e.value) != token {
		return false, nil
	}
	delete(m.entries, key)
	return true, nil
}

// Ping implements [Store].
func (m *Memory) Ping(context.Context) error { return nil }

// Close implements [Store].
func (m *Memory) Close() error { return nil }

func (m *Memory) get(key string, at time.Time) (entry, bool) {
	e, ok := m.entries[key]
	if ok && !e.expires.After(at) {
		delete(m.entries, key)
		return entry{}, false
	}
	return e, ok
}

// put writes, and sweeps after as many writes as the last sweep has left entries: at constant cost
// on average, at most about half of them are expired.
func (m *Memory) put(key string, e entry, at time.Time) {
	m.entries[key] = e
	if m.written++; m.written <= max(m.kept, 1024) {
		return
	}
	for k, e := range m.entries {
		if !e.expires.After(at) {
			delete(m.entries, k)
		}
	}
	m.written, m.kept = 0, len(m.entries)
}

func wrongKind(key string) error { return fmt.Errorf("kv: %q holds something else", key) }

// Len is the number of entries kept, expired ones that were not swept yet included.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}
