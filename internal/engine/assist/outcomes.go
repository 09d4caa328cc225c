package assist

import (
	"net/http"
	"strconv"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// sessionsHandover passes the visitor on to a person at once.
func (e *Engine) sessionsHandover(c *call) error {
	var in struct {
		Secret string `json:"secret"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	chosen, err := e.chooseFor(c, in.Secret)
	if err != nil {
		return err
	}
	return e.byVisitor(c, in.Secret, func(tx *db.Tx, s *session) error {
		b, err := readBot(tx, s.owner, s.bot)
		if err != nil {
			return err
		}
		switch {
		case s.state == waiting || s.state == human:
			return nil
		case s.state == closed:
			return problem.New(problem.Conflict, "assist.closed", "the conversation is closed; begin another one")
		case b.Handover.Off:
			return problem.New(problem.Conflict, "assist.no_queue", "this bot has no queue to hand the conversation over to")
		}
		s.active = tx.Now()
		if err := e.queueUp(tx, s, b, "request", chosen, 0); err != nil {
			return err
		}
		return e.updateSession(tx, s)
	})
}

// byVisitor runs a visitor's operation on a session with the routing locked, and answers with the session.
func (e *Engine) byVisitor(c *call, secret string, op func(tx *db.Tx, s *session) error) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (*sessionView, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return nil, err
		}
		s, err := e.visitor(tx, c, secret, tx.Dialect().ForUpdate())
		if err != nil {
			return nil, err
		}
		if err := op(tx, s); err != nil {
			return nil, err
		}
		return e.visitorView(tx, s)
	})
}

// chooseFor chooses the queue for a session by what its visitor has said.
func (e *Engine) chooseFor(c *call, secret string) (string, error) {
	var s *session
	var b *Bot
	var history []Message
	err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) {
		if s, err = e.visitor(tx, c, secret, ""); err != nil {
			return err
		}
		if b, err = readBot(tx, s.owner, s.bot); err != nil {
			return err
		}
		history, err = e.messages(tx, s.id, max(0, s.seq-remembered), remembered, false)
		return err
	})
	if err != nil {
		return "", err
	}
	return e.classify(c.ctx, b, s.owner, "", s.language, said(history, ""))
}

func (e *Engine) sessionsRating(c *call) error {
	var in struct {
		Rating  int64  `json:"rating"`
		Comment string `json:"comment"`
		Secret  string `json:"secret"`
	}
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if in.Rating < 1 || in.Rating > 5 {
		return engine.Invalid("rating", "must be from 1 to 5")
	}
	if longer(in.Comment, 2000) {
		return engine.Invalid("comment", "must have at most 2000 characters")
	}
	return update(e, c, http.StatusOK, func(tx *db.Tx) (*sessionView, error) {
		s, err := e.visitor(tx, c, in.Secret, tx.Dialect().ForUpdate())
		if err != nil {
			return nil, err
		}
		s.rating, s.memory.Comment = in.Rating, normalise(in.Comment)
		if err := e.say(tx, s, &Message{Role: "event", Event: "rated", Text: strconv.FormatInt(in.Rating, 10)}); err != nil {
			return nil, err
		}
		if err := e.updateSession(tx, s); err != nil {
			return nil, err
		}
		return e.visitorView(tx, s)
	})
}

func (e *Engine) sessionsClose(c *call) error {
	var in struct {
		Secret string `json:"secret"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	return e.byVisitor(c, in.Secret, func(tx *db.Tx, s *session) error {
		if s.state == closed {
			return nil
		}
		resolution := "ended"
		if s.state == waiting {
			resolution = "abandoned"
		}
		return e.closeSession(tx, s, resolution)
	})
}

// closeSession ends a conversation; its agent is free again. Called with the routing locked.
func (e *Engine) closeSession(tx *db.Tx, s *session, resolution string) error {
	s.state, s.resolution, s.closed, s.active = closed, resolution, tx.Now(), tx.Now()
	if err := e.say(tx, s, &Message{Role: "event", Event: "closed", Text: resolution}); err != nil {
		return err
	}
	if err := e.updateSession(tx, s); err != nil {
		return err
	}
	return e.refill(tx, s.owner)
}

// sessionsErase deletes what was said, at the visitor's wish.
func (e *Engine) sessionsErase(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return deleted{}, err
		}
		s, err := e.visitor(tx, c, "", tx.Dialect().ForUpdate())
		if err != nil {
			return deleted{}, err
		}
		return deleted{s.id, true}, e.eraseSession(tx, s)
	})
}

func (e *Engine) eraseSession(tx *db.Tx, s *session) error {
	if s.state == waiting || s.state == human || s.state == withBot {
		if err := e.closeSession(tx, s, "erased"); err != nil {
			return err
		}
	}
	return erase(tx, s.id)
}
