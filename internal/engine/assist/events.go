package assist

import (
	"context"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Times of event streams.
const (
	streamLife  = 15 * time.Minute // a client comes again with Last-Event-ID
	streamPoll  = 2 * time.Second  // for news from other processes
	streamAlive = 15 * time.Second
)

// sessionsEvents streams the messages of a session as they come, behind Last-Event-ID or ?after=.
func (e *Engine) sessionsEvents(c *call) error {
	return e.stream(c, false, func(tx *db.Tx) (*session, error) { return e.visitor(tx, c, "", "") })
}

func (e *Engine) deskEvents(c *call) error {
	return e.stream(c, true, func(tx *db.Tx) (*session, error) {
		return e.readSession(tx, c.Owner, c.path("session"), "")
	})
}

func (e *Engine) stream(c *call, notes bool, read func(tx *db.Tx) (*session, error)) error {
	last := c.header("Last-Event-ID")
	if last == "" {
		last = c.Query.Get("after")
	}
	after, err := sequence(last)
	if err != nil {
		return err
	}
	news, stop, ok := e.hub.listen(c.path("session"))
	if !ok {
		return problem.New(problem.TooMany, "assist.too_many_streams", "too many event streams are open; close some").After(30 * time.Second)
	}
	defer stop()
	ctx, cancel := context.WithTimeout(c.ctx, streamLife)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	poll := time.NewTicker(streamPoll)
	defer poll.Stop()
	out := &eventWriter{w: c.w}
	quiet := time.Now()
	for first := true; ; first = false {
		var s *session
		var list []Message
		err := e.o.DB.View(ctx, func(tx *db.Tx) (err error) {
			if s, err = read(tx); err != nil || s.seq <= after {
				return err
			}
			list, err = e.messages(tx, s.id, after, 200, notes)
			return err
		})
		if ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err != nil {
			if !first && problem.Is(err, problem.NotFound) {
				return nil // erased meanwhile
			}
			return err
		}
		for _, m := range list {
			if err := out.sendID(strconv.FormatInt(m.Seq, 10), m); err != nil {
				return err
			}
			after, quiet = m.Seq, time.Now()
		}
		if first && len(list) == 0 || time.Since(quiet) > streamAlive {
			if err := out.comment("here"); err != nil {
				return err
			}
			quiet = time.Now()
		}
		if s.state == closed {
			return nil
		}
		if s.seq > after && len(list) > 0 {
			continue // there is more
		}
		after = max(after, s.seq) // notes that were left out
		select {
		case <-news:
		case <-poll.C:
		case <-ctx.Done():
			return c.ctx.Err()
		}
	}
}
