package record

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// RecorderOptions configure a Recorder. The zero value of a field means its default.
type RecorderOptions struct {
	Queue int           // bytes that may wait to be written; default 32 MiB
	Poll  time.Duration // between looks for switches changed elsewhere; default 1 s
	Log   *slog.Logger  // default: nowhere
}

// batchBytes bounds one transaction, so that it never holds other writers up for long.
const batchBytes = 2 << 20

// Recorder is the data plane's recorder. Its methods may be called concurrently.
type Recorder struct {
	store   *Store
	o       RecorderOptions
	wanted  atomic.Pointer[map[string]struct{}] // organisations that record; immutable
	rev     int64                               // change counter that wanted shows; of the follower alone
	dropped atomic.Int64

	mu      sync.Mutex
	waiting []item // guarded by mu
	size    int    // guarded by mu: bytes of waiting and of what is being written
	ended   bool   // guarded by mu

	changed chan struct{} // a switch was changed in this process; capacity 1
	work    chan struct{} // something waits; capacity 1
	ctx     context.Context
	cancel  context.CancelFunc
	once    sync.Once
	wg      sync.WaitGroup
}

// item is the content of one call, bounded.
type item struct {
	event, org            string
	at                    int64
	request, answer       []byte
	requestCut, answerCut bool
}

func (i *item) size() int { return len(i.request) + len(i.answer) }

// NewRecorder returns a Recorder that writes through s. Call Start before use.
func NewRecorder(s *Store, o RecorderOptions) *Recorder {
	if o.Queue == 0 {
		o.Queue = 32 << 20
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{store: s, o: o, rev: -1, changed: make(chan struct{}, 1), work: make(chan struct{}, 1)}
	r.wanted.Store(&map[string]struct{}{})
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Start reads the switches and begins to follow them and to write.
func (r *Recorder) Start(ctx context.Context) error {
	if err := r.follow(ctx); err != nil {
		return err
	}
	r.store.onChange(func() { signal(r.changed) })
	r.wg.Go(r.follower)
	r.wg.Go(r.writer)
	return nil
}

// Stop writes what waits, as far as ctx lets it, and ends the goroutines. Twice is fine.
func (r *Recorder) Stop(ctx context.Context) {
	r.once.Do(func() {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		r.cancel()
		r.wg.Wait()
		for {
			batch := r.take()
			if len(batch) == 0 {
				return
			}
			if err := r.write(ctx, batch); err != nil {
				r.dropped.Add(int64(len(batch)))
			}
			r.done(batch)
		}
	})
}

// Wants reports whether calls of the organisation are recorded. It reads memory only.
func (r *Recorder) Wants(org string) bool {
	m := *r.wanted.Load()
	if len(m) == 0 {
		return false
	}
	_, ok := m[org]
	return ok
}

// Dropped is how many calls were not recorded because too many waited, or the database refused them.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

// Record takes the content of a finished call, of which it keeps [Limit] bytes a side. It copies what it
// keeps and never waits.
func (r *Recorder) Record(event, org string, request, answer []byte) {
	id, err := db.ParseID(event, "evt")
	if err != nil || !r.Wants(org) {
		return
	}
	n := min(len(request), Limit) + min(len(answer), Limit)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.size+n > r.o.Queue {
		r.dropped.Add(1)
		return
	}
	r.size += n
	r.waiting = append(r.waiting, item{event: event, org: org, at: db.Micros(id.Time()),
		request: head(request), requestCut: len(request) > Limit, answer: head(answer), answerCut: len(answer) > Limit})
	signal(r.work)
}

// head copies what is kept of b.
func head(b []byte) []byte { return slices.Clone(b[:min(len(b), Limit)]) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// follower keeps wanted up to date. With the database away the last state stays: what is recorded
// meanwhile is written only if the switch is still on then.
func (r *Recorder) follower() {
	t := time.NewTicker(r.o.Poll)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		case <-r.changed:
		}
		ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
		err := r.follow(ctx)
		cancel()
		if err != nil && r.ctx.Err() == nil && !problem.Is(err, problem.Unavailable) {
			r.o.Log.Warn("the switches of recording could not be read", "error", err)
		}
	}
}

func (r *Recorder) follow(ctx context.Context) error {
	var rev int64
	var on []Switch
	err := r.store.db.View(ctx, func(tx *db.Tx) (err error) {
		if rev, err = db.Revision(tx, counter); err != nil || rev == r.rev {
			return err
		}
		on, err = switches(tx, `WHERE enabled = 1`)
		return err
	})
	if err != nil || rev == r.rev {
		return err
	}
	m := make(map[string]struct{}, len(on))
	for _, sw := range on {
		m[sw.Org] = struct{}{}
	}
	r.wanted.Store(&m)
	r.rev = rev
	return nil
}

// writer writes batches as they come. While the database is away it waits; the queue is bounded.
func (r *Recorder) writer() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.work:
		}
		for batch := r.take(); len(batch) > 0; batch = r.take() {
			err := r.write(r.ctx, batch)
			for pause := 100 * time.Millisecond; away(err) && r.ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
				r.sleep(pause)
				err = r.write(r.ctx, batch)
			}
			if err != nil && r.ctx.Err() != nil {
				r.putBack(batch) // Stop tries once more
				return
			}
			if err != nil {
				r.dropped.Add(int64(len(batch)))
				r.o.Log.Error("recorded content could not be written", "calls", len(batch), "error", err)
			}
			r.done(batch)
		}
	}
}

// away reports whether the database may take later what it did not take now. Writing twice does no harm.
func away(err error) bool {
	return problem.Is(err, problem.Unavailable) || errors.Is(err, db.ErrInDoubt)
}

func (r *Recorder) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
	case <-t.C:
	}
}

// take removes a batch from the queue.
func (r *Recorder) take() []item {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, bytes := 0, 0
	for n < len(r.waiting) && (n == 0 || bytes+r.waiting[n].size() <= batchBytes) {
		bytes += r.waiting[n].size()
		n++
	}
	batch := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil
	}
	return batch
}

func (r *Recorder) putBack(batch []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.Concat(batch, r.waiting)
}

// done gives the room of the batch back.
func (r *Recorder) done(batch []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range batch {
		r.size -= batch[i].size()
	}
}

// write seals the batch and writes what its organisations' switches still allow. The switches are locked,
// so that a change of one comes either before this transaction or after it.
func (r *Recorder) write(ctx context.Context, batch []item) error {
	var orgs []string
	for i := range batch {
		if !slices.Contains(orgs, batch[i].org) {
			orgs = append(orgs, batch[i].org)
		}
	}
	slices.Sort(orgs)
	rows := make([][]any, len(batch))
	for i := range batch {
		it := &batch[i]
		request := r.store.sealer.SealBytes(it.request, sealContext(it.event, "request"))
		rows[i] = []any{it.event, it.org, it.at, secret.KeyID(request), request, db.Bool(it.requestCut),
			r.store.sealer.SealBytes(it.answer, sealContext(it.event, "answer")), db.Bool(it.answerCut)}
	}
	return r.store.db.Update(ctx, func(tx *db.Tx) error {
		allowed := map[string]Switch{}
		for _, org := range orgs {
			sw, err := read(tx, org, tx.Dialect().ForShare())
			if err != nil {
				return err
			}
			allowed[org] = sw
		}
		for i := range batch {
			if sw := allowed[batch[i].org]; !sw.Enabled || batch[i].at <= sw.void(tx.Now()) {
				continue
			}
			_, err := tx.Exec(`INSERT INTO recorded_content (event, org, at, sealed_by, request, request_cut, answer, answer_cut)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`, rows[i]...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
