package plan

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
)

// BookOptions configure a [Book]. The zero value works.
type BookOptions struct {
	// Every is how often other processes' changes are looked for; default 1 s.
	Every time.Duration
	Clock clock.Clock
}

// Book answers the hot path from memory: what a caller's model name means, under which plan version,
// served by what. Changes of this process are in it when the write returns, those of others after at
// most [BookOptions.Every] while [Book.Run] runs. While the database is away it answers as it last knew.
// Safe for concurrent use.
type Book struct {
	db    *db.DB
	store *Store
	o     BookOptions
	snap  atomic.Pointer[Snapshot]

	shards [64]shard

	refresh  sync.Mutex
	tickets  atomic.Uint64 // handed to callers of Refresh
	served   uint64        // tickets covered by a finished refresh
	last     error         // of the last refresh
	subRev   int64
	auto     atomic.Bool // the operator lets a first call subscribe
	zones    map[string]*time.Location
	checked  atomic.Int64 // µs of the last refresh that succeeded
	onChange []func(*catalog.Snapshot)

	flights flights
}

// shard is the part of the subscriptions whose id, or whose organisation's id, falls on it.
type shard struct {
	sync.RWMutex
	accounts map[db.UUID]*account // by organisation
	subs     map[db.UUID]*sub     // by id, ended ones included
}

// NewBook reads everything and returns the Book. It follows the writes of the stores from now on;
// call Run to follow those of other processes.
func NewBook(ctx context.Context, d *db.DB, store *Store, orgs *org.Store, o BookOptions) (*Book, error) {
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	b := &Book{db: d, store: store, o: o, zones: map[string]*time.Location{}}
	for i := range b.shards {
		b.shards[i].accounts, b.shards[i].subs = map[db.UUID]*account{}, map[db.UUID]*sub{}
	}
	follow := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = b.Refresh(ctx) // kept for Health; Run tries again
	}
	store.onChange(follow)
	store.catalog.OnChange(follow)
	orgs.Watch(func(org.State) { follow() })
	if err := b.Refresh(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Run follows the changes of other processes until ctx ends.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(b.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			limited, cancel := context.WithTimeout(ctx, 10*time.Second)
			_ = b.Refresh(limited) // kept for Health; the next tick tries again
			cancel()
		}
	}
}

// Health returns when the Book was last known to be current, and why the last look failed, if it did.
func (b *Book) Health() (current time.Time, err error) {
	b.refresh.Lock()
	defer b.refresh.Unlock()
	return db.Time(b.checked.Load()), b.last
}

// OnChange has fn called with every new catalogue before calls are resolved by it, and at once with
// the present one. fn must be quick.
func (b *Book) OnChange(fn func(*catalog.Snapshot)) {
	b.refresh.Lock()
	defer b.refresh.Unlock()
	b.onChange = append(b.onChange, fn)
	fn(b.snap.Load().Catalog)
}

// Snapshot returns the present snapshot.
func (b *Book) Snapshot() *Snapshot { return b.snap.Load() }

// Refresh looks for changes and takes them over. Callers that come together share a look.
func (b *Book) Refresh(ctx context.Context) error {
	ticket := b.tickets.Add(1)
	b.refresh.Lock()
	defer b.refresh.Unlock()
	if b.served >= ticket {
		return b.last
	}
	covers := b.tickets.Load()
	b.last = b.look(ctx)
	if b.last == nil {
		b.served = covers
	}
	return b.last
}

func (b *Book) look(ctx context.Context) error {
	old := b.snap.Load()
	now := b.o.Clock.Now()
	var next *Snapshot
	var rows []subRow
	var auto bool
	err := b.db.View(ctx, func(tx *db.Tx) (err error) {
		if auto, err = org.AutoSubscribeTx(tx); err != nil {
			return err
		}
		if next, err = load(tx, b.store.catalog, old); err != nil {
			return err
		}
		rows, err = readSubRows(tx, b.subRev)
		return err
	})
	if err != nil {
		return err
	}
	b.auto.Store(auto)
	if next != old {
		if old == nil || next.Catalog != old.Catalog {
			for _, fn := range b.onChange {
				fn(next.Catalog)
			}
		}
		b.snap.Store(next) // before the subscriptions, which may be to what is new in it
	}
	if err := b.take(rows); err != nil {
		return err
	}
	b.checked.Store(db.Micros(now))
	return nil
}

// take puts changed subscriptions into the accounts.
func (b *Book) take(rows []subRow) error {
	changed, rev := map[db.UUID][]*sub{}, b.subRev
	for i := range rows {
		s, err := rows[i].sub(b.zones)
		if err != nil {
			return err
		}
		changed[s.org] = append(changed[s.org], s)
		rev = max(rev, rows[i].rev)
	}
	for id, subs := range changed {
		next := b.account(id).with(subs)
		sh := b.shard(id)
		sh.Lock()
		sh.accounts[id] = next
		sh.Unlock()
		for _, s := range subs {
			sh := b.shard(s.id)
			sh.Lock()
			sh.subs[s.id] = s
			sh.Unlock()
		}
	}
	b.subRev = rev
	return nil
}

func (b *Book) shard(id db.UUID) *shard { return &b.shards[id[15]&63] }

// account returns an organisation's subscriptions, or nil.
func (b *Book) account(org db.UUID) *account {
	sh := b.shard(org)
	sh.RLock()
	a := sh.accounts[org]
	sh.RUnlock()
	return a
}

// sub returns a subscription by its id, also one that has ended, or nil.
func (b *Book) sub(id db.UUID) *sub {
	sh := b.shard(id)
	sh.RLock()
	s := sh.subs[id]
	sh.RUnlock()
	return s
}

// with returns the account after the changes.
func (a *account) with(changed []*sub) *account {
	next := &account{}
	is := make(map[db.UUID]bool, len(changed))
	for _, s := range changed {
		is[s.id] = true
	}
	if a != nil {
		next.past = maps.Clone(a.past)
		for _, s := range a.live {
			if !is[s.id] {
				next.live = append(next.live, s)
			}
		}
	}
	for _, s := range changed {
		if s.state != Ended {
			next.live = append(next.live, s)
			continue
		}
		if next.past == nil {
			next.past = map[db.UUID]struct{}{}
		}
		next.past[s.product] = struct{}{}
	}
	slices.SortFunc(next.live, (*sub).order)
	if len(next.live) > fewSubs {
		next.index = make(map[db.UUID]*sub, len(next.live))
		for _, s := range next.live {
			next.index[s.product] = s
		}
	}
	return next
}
