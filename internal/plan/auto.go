package plan

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// flights are the automatic subscriptions under way, so that a burst of first calls makes one.
type flights struct {
	sync.Mutex
	under map[flight]*landing
}

type flight struct{ org, plan string }

type landing struct {
	done chan struct{}
	err  error
}

// autoTimeout bounds an automatic subscription, whatever becomes of the call that asked for it.
const autoTimeout = 10 * time.Second

// AutoSubscribe puts an organisation on a plan as [NeedsSubscription] told, and returns when
// [Book.Resolve] knows it. It succeeds if there is a subscription to the product already, whoever
// made it. One that has ended is not begun again: problem.Forbidden plan.not_subscribed. Calls for
// the same organisation and plan share one transaction, which the first of them sees through even if
// its ctx ends.
func (b *Book) AutoSubscribe(ctx context.Context, orgID, planID string) error {
	key := flight{orgID, planID}
	b.flights.Lock()
	l := b.flights.under[key]
	if l != nil {
		b.flights.Unlock()
		select {
		case <-l.done:
			return l.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l = &landing{done: make(chan struct{})}
	if b.flights.under == nil {
		b.flights.under = map[flight]*landing{}
	}
	b.flights.under[key] = l
	b.flights.Unlock()
	b.fly(context.WithoutCancel(ctx), key, l)
	return l.err
}

// fly subscribes for all who wait on l.
func (b *Book) fly(ctx context.Context, key flight, l *landing) {
	ctx, cancel := context.WithTimeout(ctx, autoTimeout)
	defer cancel()
	l.err = errLoading() // what the others get should this panic
	defer func() {
		b.flights.Lock()
		delete(b.flights.under, key)
		b.flights.Unlock()
		close(l.done)
	}()
	err := b.db.Update(ctx, func(tx *db.Tx) error { return b.store.autoSubscribeTx(tx, key.org, key.plan) })
	if err == nil {
		err = b.Refresh(ctx) // another process may have made the subscription
	}
	l.err = err
}

// autoSubscribeTx subscribes unless the organisation is or was subscribed to the product.
func (s *Store) autoSubscribeTx(tx *db.Tx, orgID, planID string) error {
	p, err := s.PlanTx(tx, planID)
	if err != nil {
		return err
	}
	product, err := s.catalog.ProductTx(tx, p.ProductID)
	if err != nil {
		return err
	}
	refused := problem.New(problem.Forbidden, "plan.not_subscribed", "your organisation is not subscribed to %q", product.Model)
	allowed, err := org.AutoSubscribeTx(tx)
	if err != nil {
		return err
	}
	if !allowed || !p.AutoSubscribe {
		return refused
	}
	sub, err := s.subscribe(tx, audit.System("first call"), orgID, SubscribeInput{PlanID: planID}, true)
	if err != nil || sub == nil {
		return err
	}
	var before string
	err = tx.QueryRow(`SELECT id FROM subscription WHERE org_id = $1 AND product_id = $2 AND id <> $3 LIMIT 1`, orgID, p.ProductID, sub.ID).Scan(&before)
	if err == nil {
		return refused // rolls back
	}
	return ignoreNoRows(err)
}
