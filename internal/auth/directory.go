package auth

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	pollEvery = time.Second         // with the time of one query, a change holds everywhere within two
	flushEach = 30                  // polls between two writings of last uses
	usedGrain = 5 * 60              // seconds: a key's last use is noted at most this often
	remember  = 30 * 24 * time.Hour // how long a revoked or expired key is told from an unknown one
	shards    = 256
)

// The refusals of [Directory.Lookup].
var (
	errMissing   = problem.New(problem.Unauthenticated, "auth.key_missing", "no key was given: send it as Authorization: Bearer sk-tg-…")
	errMalformed = problem.New(problem.Unauthenticated, "auth.key_malformed", "the key is mistyped or cut off: a key is sk-tg-inf- or sk-tg-mgt- and 49 letters and digits")
	errUnknown   = problem.New(problem.Unauthenticated, "auth.key_unknown", "there is no such key")
	errRevoked   = problem.New(problem.Unauthenticated, "auth.key_revoked", "the key has been revoked")
	errExpired   = problem.New(problem.Unauthenticated, "auth.key_expired", "the key, or this secret of it after a rotation, has expired")
	errSuspended = problem.New(problem.Forbidden, "auth.org_suspended", "the key's organisation is suspended: ask the operator")
)

// table maps a secret's hash to whose it is. A published table is never changed.
type table map[[32]byte]entry

type entry struct {
	p     *Principal
	until int64 // UTC microseconds at which the secret or its key expires; 0: never
}

// Directory holds the live keys of all organisations in memory. Lookups take no lock. It follows the
// database by change counters: each second, and at once for changes made through the stores it was
// made with. While the database is away it answers from what it knows; see [Directory.Fresh].
type Directory struct {
	db    *db.DB
	clock clock.Clock
	log   *slog.Logger

	tables [shards]atomic.Pointer[table]
	coarse atomic.Int64 // Unix seconds at the last poll
	fresh  atomic.Int64 // UTC microseconds of the last poll that succeeded
	count  atomic.Int64

	mu      sync.Mutex // guards what follows, and is held to publish
	orgs    map[string]*orgState
	orgRev  int64
	keyRev  int64
	noted   []*Principal // used since the last flush
	failing bool         // the last poll failed

	polling sync.Mutex // one poll at a time
	unwatch []func()
	wake    chan struct{}
	quit    chan struct{}
	stop    sync.Once
	done    sync.WaitGroup
}

// NewDirectory returns a directory that has read nothing yet. log receives failures of the polls
// (nil: nowhere).
func NewDirectory(d *db.DB, orgs *org.Store, keys *Store, c clock.Clock, log *slog.Logger) *Directory {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir := &Directory{db: d, clock: c, log: log, orgs: map[string]*orgState{}, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	for i := range dir.tables {
		dir.tables[i].Store(&table{})
	}
	dir.unwatch = []func(){orgs.Watch(dir.orgChanged), keys.watch(dir.keyChanged)}
	return dir
}

// Start reads all keys and follows their changes until [Directory.Stop]. Call it once.
func (d *Directory) Start(ctx context.Context) error {
	if err := d.Refresh(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(pollEvery)
	d.done.Go(func() {
		defer tick.Stop()
		d.follow(tick.C)
	})
	return nil
}

// Stop ends the following, writes the last uses, and returns when that is done. More than one call
// is fine. Lookups go on working.
func (d *Directory) Stop() {
	d.stop.Do(func() {
		close(d.quit)
		for _, f := range d.unwatch {
			f()
		}
	})
	d.done.Wait()
}

func (d *Directory) follow(tick <-chan time.Time) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.done.Go(func() { <-d.quit; cancel() })
	for n := 1; ; n++ {
		select {
		case <-d.quit:
			last, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			d.report(d.flush(last))
			return
		case <-tick:
		case <-d.wake:
		}
		err := d.Refresh(ctx)
		if err == nil && n%flushEach == 0 {
			err = d.flush(ctx)
		}
		if ctx.Err() == nil {
			d.report(err)
		}
	}
}

// report logs when the database goes away and when it is back, not each failure between.
func (d *Directory) report(err error) {
	d.mu.Lock()
	was := d.failing
	d.failing = err != nil
	d.mu.Unlock()
	switch {
	case err != nil && !was:
		d.log.Error("auth: changes of keys cannot be read; serving with those known", "error", err)
	case err == nil && was:
		d.log.Info("auth: changes of keys are read again")
	}
}

// Fresh is when the directory last knew that it was up to date.
func (d *Directory) Fresh() time.Time { return when(d.fresh.Load()) }

// Len is how many secrets are known, those of revoked and expired keys included.
func (d *Directory) Len() int { return int(d.count.Load()) }

// Lookup finds whose credential it is. Safe for any number of goroutines; without allocation when
// it succeeds. The error is problem.Unauthenticated, or problem.Forbidden for a key of a suspended
// organisation.
func (d *Directory) Lookup(credential []byte) (*Principal, error) {
	if len(credential) == 0 {
		return nil, errMissing
	}
	if _, ok := ParseKey(credential); !ok {
		return nil, errMalformed
	}
	hash := hashOf(credential)
	e, ok := (*d.tables[hash[0]].Load())[hash]
	switch {
	case !ok:
		return nil, errUnknown
	case e.p.revoked:
		return nil, errRevoked
	case e.until != 0 && db.Micros(d.clock.Now()) >= e.until:
		return nil, errExpired
	case e.p.org.suspended.Load():
		return nil, errSuspended
	}
	if now := d.coarse.Load(); now-e.p.used.Load() >= usedGrain {
		d.note(e.p, now)
	}
	return e.p, nil
}

// note remembers that the key was used, to be written by flush.
func (d *Directory) note(p *Principal, now int64) {
	last := p.used.Load()
	if now-last < usedGrain || !p.used.CompareAndSwap(last, now) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted = append(d.noted, p)
}

// flush writes the last uses. A failure loses them: they are information, not a record.
func (d *Directory) flush(ctx context.Context) error {
	d.mu.Lock()
	noted := d.noted
	d.noted = nil
	d.mu.Unlock()
	for len(noted) > 0 {
		n := min(len(noted), 500)
		err := d.db.Update(ctx, func(tx *db.Tx) error {
			for _, p := range noted[:n] {
				us := p.used.Load() * 1e6
				if _, err := tx.Exec(`UPDATE auth_key SET last_used_at = $1 WHERE id = $2 AND last_used_at < $3`, us, p.KeyID, us); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		noted = noted[n:]
	}
	return nil
}

// Refresh reads what has changed. The directory does so by itself; tests and commands call it to
// be sure.
func (d *Directory) Refresh(ctx context.Context) error {
	d.polling.Lock()
	defer d.polling.Unlock()
	d.mu.Lock()
	orgRev, keyRev := d.orgRev, d.keyRev
	d.mu.Unlock()
	now := d.clock.Now()
	var oldest time.Time
	if d.fresh.Load() == 0 { // what ended long ago is left out at the start; a change is never left out
		oldest = now.Add(-remember)
	}
	b := batch{d: d}
	err := d.db.View(ctx, func(tx *db.Tx) error {
		const page = 5000
		for {
			states, err := org.StatesSince(tx, orgRev, page)
			if err != nil {
				return err
			}
			for _, st := range states {
				orgRev = st.Rev
				if err := d.setOrg(st); err != nil {
					return err
				}
			}
			if len(states) < page {
				break
			}
		}
		return eachLive(tx, keyRev, oldest, func(k *liveKey) error {
			keyRev = max(keyRev, k.rev)
			return b.add(k)
		})
	})
	if err != nil {
		return err
	}
	b.publish()
	d.mu.Lock()
	d.orgRev, d.keyRev = max(d.orgRev, orgRev), max(d.keyRev, keyRev)
	d.mu.Unlock()
	d.coarse.Store(now.Unix())
	d.fresh.Store(db.Micros(now))
	return nil
}

// orgChanged takes a change that this process has committed.
func (d *Directory) orgChanged(st org.State) {
	if err := d.setOrg(st); err != nil {
		d.poke()
	}
}

// setOrg brings an organisation's state up to date. Older news is ignored.
func (d *Directory) setOrg(st org.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.orgs[st.ID]
	if o == nil {
		uuid, err := db.ParseID(st.ID, "org")
		if err != nil {
			return err
		}
		o = &orgState{id: st.ID, name: st.Name, uuid: uuid}
		d.orgs[st.ID] = o
	}
	if st.Rev > o.rev {
		o.rev = st.Rev
		o.parts.Store(uint32(st.Parts))
		o.suspended.Store(st.Suspended)
	}
	return nil
}

// keyChanged takes a key that this process has changed and committed.
func (d *Directory) keyChanged(k liveKey) {
	b := batch{d: d}
	if err := b.add(&k); err != nil {
		d.poke() // an organisation not seen yet: the poll knows it
		return
	}
	b.publish()
}

// poke has the follower poll now.
func (d *Directory) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// batch collects entries, so that each table is copied once for all of them.
type batch struct {
	d     *Directory
	items [shards][]item
}

type item struct {
	hash [32]byte
	entry
}

// add takes a key with all its secrets. It keeps none of its slices but budgets.
func (b *batch) add(k *liveKey) error {
	b.d.mu.Lock()
	o := b.d.orgs[k.org]
	b.d.mu.Unlock()
	if o == nil {
		return fmt.Errorf("key %s: organisation %s is not known", k.id, k.org)
	}
	uuid, err := db.ParseID(k.id, "key")
	if err != nil {
		return fmt.Errorf("key %q: %w", k.id, err)
	}
	p := &Principal{KeyID: k.id, OrgID: o.id, OrgName: o.name, UserID: k.user, KeyUUID: uuid, OrgUUID: o.uuid,
		Kind: k.kind, Role: k.role, Limits: k.limits, Budgets: k.budgets, org: o, revoked: k.revoked, rev: k.rev}
	p.used.Store(k.used / 1e6)
	for _, s := range k.secrets {
		b.items[s.hash[0]] = append(b.items[s.hash[0]], item{s.hash, entry{p, earliest(k.expires, s.expires)}})
	}
	return nil
}

// earliest of two times of which zero stands for never.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// publish replaces the tables that the batch concerns. What is there already of a later change stays.
func (b *batch) publish() {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, items := range b.items {
		if len(items) == 0 {
			continue
		}
		old := *d.tables[i].Load()
		fresh := make(table, len(old)+len(items))
		maps.Copy(fresh, old)
		for _, it := range items {
			if cur, ok := fresh[it.hash]; ok {
				if cur.p.rev >= it.p.rev {
					continue
				}
				it.p.used.Store(max(cur.p.used.Load(), it.p.used.Load()))
			}
			fresh[it.hash] = it.entry
		}
		d.count.Add(int64(len(fresh) - len(old)))
		d.tables[i].Store(&fresh)
	}
}
