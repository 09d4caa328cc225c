package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// Log reads the record and closes its chain. Safe for concurrent use, also by several processes on
// one database.
type Log struct {
	db   *db.DB
	log  *slog.Logger
	quit chan struct{}
	once sync.Once
	done sync.WaitGroup
}

// New returns a Log; log receives what goes wrong while sealing in the background (nil: nowhere).
func New(d *db.DB, log *slog.Logger) *Log {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Log{db: d, log: log, quit: make(chan struct{})}
}

const (
	sealEvery = time.Second
	sealBatch = 500
)

// Start seals new entries every second until [Log.Stop]. Call it once.
func (l *Log) Start() {
	l.done.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l.done.Go(func() { <-l.quit; cancel() })
		tick := time.NewTicker(sealEvery)
		defer tick.Stop()
		for {
			select {
			case <-l.quit:
				return
			case <-tick.C:
				if _, err := l.Seal(ctx); err != nil && ctx.Err() == nil {
					l.log.Error("audit: entries not sealed; will be tried again", "error", err)
				}
			}
		}
	})
}

// Stop ends the sealing and returns when it has ended. More than one call is fine.
func (l *Log) Stop() {
	l.once.Do(func() { close(l.quit) })
	l.done.Wait()
}

// Seal gives every committed entry that has none its place and hash in the chain, and returns how
// many it sealed.
func (l *Log) Seal(ctx context.Context) (int, error) {
	total := 0
	for {
		var waiting int64
		err := l.db.View(ctx, func(tx *db.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM (SELECT id FROM audit_entry WHERE seq IS NULL LIMIT 1) w`).Scan(&waiting)
		})
		if err != nil || waiting == 0 {
			return total, err
		}
		n := 0
		if err := l.db.Update(ctx, func(tx *db.Tx) (err error) { n, err = seal(tx); return err }); err != nil {
			return total, err
		}
		total += n
	}
}

func seal(tx *db.Tx) (int, error) {
	var seq int64
	var prev string
	// The update takes the head's lock: one sealer at a time, and it sees what others committed.
	if err := tx.QueryRow(`UPDATE audit_head SET seq = seq WHERE one = 1 RETURNING seq, hash`).Scan(&seq, &prev); err != nil {
		return 0, err
	}
	rows, err := read(tx, "WHERE seq IS NULL ORDER BY id LIMIT $1", sealBatch)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		seq++
		prev = r.digest(seq, prev)
		if _, err := tx.Exec(`UPDATE audit_entry SET seq = $1, hash = $2 WHERE id = $3`, seq, prev, r.ID); err != nil {
			return 0, err
		}
	}
	_, err = tx.Exec(`UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1`, seq, prev)
	return len(rows), err
}

// row is an entry as stored, which is what the hash covers.
type row struct {
	Item
	at              int64
	remote, changes string
}

// digest returns the hash of the entry at place seq after the hash prev: SHA-256 over every field,
// each preceded by its length.
func (r *row) digest(seq int64, prev string) string {
	h := sha256.New()
	for _, s := range []string{prev, strconv.FormatInt(seq, 10), r.ID, strconv.FormatInt(r.at, 10), r.Actor.Org, r.Actor.User,
		r.Actor.Key, r.Actor.System, r.Actor.Request, r.remote, r.Org, r.Action, r.Object, r.Reason, r.changes} {
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func read(tx *db.Tx, tail string, args ...any) ([]row, error) {
	rows, err := tx.Query(`SELECT id, at, actor_org, actor_user, actor_key, actor_system, request_id, remote, org_id,
		action, object, reason, changes, COALESCE(seq, 0), COALESCE(hash, '') FROM audit_entry `+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.ID, &r.at, &r.Actor.Org, &r.Actor.User, &r.Actor.Key, &r.Actor.System, &r.Actor.Request,
			&r.remote, &r.Org, &r.Action, &r.Object, &r.Reason, &r.changes, &r.Seq, &r.Hash); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Unsealed tells how many entries wait for their place in the chain, since when the oldest does, and how
// many have theirs.
func Unsealed(tx *db.Tx) (waiting int64, since time.Time, sealed int64, err error) {
	var oldest int64
	err = tx.QueryRow(`SELECT COUNT(*), COALESCE(MIN(at), 0), (SELECT seq FROM audit_head WHERE one = 1) FROM audit_entry WHERE seq IS NULL`).
		Scan(&waiting, &oldest, &sealed)
	if waiting > 0 {
		since = db.Time(oldest)
	}
	return waiting, since, sealed, err
}

// Filter selects entries; empty fields select all.
type Filter struct {
	Org      string // the organisation concerned
	Platform bool   // only entries that concern no organisation; Org is then ignored
	User     string // the acting user
	Action   string // one action, or a family ending in a dot: "key."
	Object   string
}

// maxPage is the largest page of a list.
const maxPage = 500

// List returns entries, newest first. after is the last id of the page before, "" for the first page.
func (l *Log) List(ctx context.Context, f Filter, after string, limit int) (items []Item, more bool, err error) {
	limit = min(max(limit, 1), maxPage)
	var conds []string
	var args []any
	add := func(cond string, arg any) {
		args = append(args, arg)
		conds = append(conds, cond+"$"+strconv.Itoa(len(args)))
	}
	switch {
	case f.Platform:
		add("org_id = ", "")
	case f.Org != "":
		add("org_id = ", f.Org)
	}
	if f.User != "" {
		add("actor_user = ", f.User)
	}
	if strings.HasSuffix(f.Action, ".") {
		add("action LIKE ", strings.ReplaceAll(f.Action, "%", "")+"%")
	} else if f.Action != "" {
		add("action = ", f.Action)
	}
	if f.Object != "" {
		add("object = ", f.Object)
	}
	if after != "" {
		add("id < ", after)
	}
	tail := ""
	if len(conds) > 0 {
		tail = "WHERE " + strings.Join(conds, " AND ")
	}
	args = append(args, limit+1)
	tail += " ORDER BY id DESC LIMIT $" + strconv.Itoa(len(args))
	err = l.db.View(ctx, func(tx *db.Tx) error {
		rows, err := read(tx, tail, args...)
		if err != nil {
			return err
		}
		items = make([]Item, 0, len(rows))
		for i := range rows {
			it, err := rows[i].item()
			if err != nil {
				return err
			}
			items = append(items, it)
		}
		return nil
	})
	if len(items) > limit {
		return items[:limit], true, err
	}
	return items, false, err
}

func (r *row) item() (Item, error) {
	it := r.Item
	it.At = db.Time(r.at)
	if r.remote != "" {
		it.Actor.Remote, _ = netip.ParseAddr(r.remote) // one that does not parse is left out
	}
	if err := json.Unmarshal([]byte(r.changes), &it.Changes); err != nil {
		return it, fmt.Errorf("audit entry %s: %w", r.ID, err)
	}
	return it, nil
}

// Report is the result of a verification.
type Report struct {
	OK      bool   `json:"ok"`
	Entries int64  `json:"entries"` // sealed
	Waiting int64  `json:"waiting"` // committed, not yet sealed
	Head    string `json:"head"`    // hash of the newest sealed entry; note it elsewhere to detect truncation
	Fault   string `json:"fault,omitempty"`
}

// Verify reads the whole chain and recomputes it. What is wrong with the chain is in the report; the
// error is for a database that could not be read.
func (l *Log) Verify(ctx context.Context) (Report, error) {
	var rep Report
	var seq int64
	prev := ""
	for {
		var rows []row
		err := l.db.View(ctx, func(tx *db.Tx) (err error) {
			rows, err = read(tx, "WHERE seq > $1 ORDER BY seq LIMIT $2", seq, sealBatch)
			return err
		})
		if err != nil {
			return rep, err
		}
		for i := range rows {
			r := &rows[i]
			if r.Seq != seq+1 {
				rep.Fault = fmt.Sprintf("entries %d to %d are missing", seq+1, r.Seq-1)
				return rep, nil
			}
			seq++
			if prev = r.digest(seq, prev); prev != r.Hash {
				rep.Fault = fmt.Sprintf("entry %d (%s) does not match its hash", seq, r.ID)
				return rep, nil
			}
		}
		rep.Entries = seq
		if len(rows) == sealBatch {
			continue
		}
		done := false
		err = l.db.View(ctx, func(tx *db.Tx) error {
			var headSeq int64
			if err := tx.QueryRow(`SELECT seq, hash FROM audit_head WHERE one = 1`).Scan(&headSeq, &rep.Head); err != nil {
				return err
			}
			if err := tx.QueryRow(`SELECT COUNT(*) FROM audit_entry WHERE seq IS NULL`).Scan(&rep.Waiting); err != nil {
				return err
			}
			var last int64 // as of this view: entries may have been sealed since the walk
			if err := tx.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM audit_entry`).Scan(&last); err != nil {
				return err
			}
			switch {
			case headSeq > seq && last > seq:
				return nil // more was sealed meanwhile: walk on
			case headSeq != seq:
				rep.Fault = fmt.Sprintf("the head says %d entries, there are %d", headSeq, last)
			case rep.Head != prev:
				rep.Fault = "the head's hash is not that of the newest entry"
			default:
				rep.OK = true
			}
			done = true
			return nil
		})
		if err != nil || done {
			return rep, err
		}
	}
}
