package assist

import (
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// deskSession is a session as agents see it.
type deskSession struct {
	ID         string            `json:"id"`
	Bot        string            `json:"bot"`
	State      string            `json:"state"`
	Channel    string            `json:"channel"`
	Language   string            `json:"language"`
	Queue      string            `json:"queue,omitempty"`
	FirstQueue string            `json:"first_queue,omitempty"`
	Correct    string            `json:"correct_queue,omitempty"`
	Priority   int64             `json:"priority"`
	Agent      string            `json:"agent,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Intent     string            `json:"intent,omitempty"`
	Resolution string            `json:"resolution,omitempty"`
	Rating     int64             `json:"rating,omitempty"`
	Comment    string            `json:"comment,omitempty"`
	Name       string            `json:"name,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Slots      map[string]string `json:"slots,omitempty"`
	Turns      int64             `json:"turns"`
	Created    time.Time         `json:"created_at"`
	Active     time.Time         `json:"active_at"`
	Waiting    time.Time         `json:"waiting_at,omitzero"`
	Assigned   time.Time         `json:"assigned_at,omitzero"`
	Replied    time.Time         `json:"replied_at,omitzero"`
	Closed     time.Time         `json:"closed_at,omitzero"`
	Expires    time.Time         `json:"expires_at"`
	Messages   []Message         `json:"messages,omitempty"`
}

func (e *Engine) deskView(tx *db.Tx, s *session, transcript bool) (*deskSession, error) {
	v := &deskSession{ID: s.id, Bot: s.bot, State: s.state, Channel: s.channel, Language: s.language, Queue: s.queue, FirstQueue: s.firstQueue, Correct: s.correctQueue,
		Priority: s.priority, Agent: s.agent, Reason: s.reason, Intent: s.intent, Resolution: s.resolution, Rating: s.rating, Comment: s.memory.Comment,
		Name: s.memory.Name, Metadata: s.memory.Metadata, Slots: s.memory.Slots, Turns: s.turns, Created: s.created, Active: s.active, Waiting: s.waitingAt,
		Assigned: s.assigned, Replied: s.replied, Closed: s.closed, Expires: s.expires}
	if !transcript {
		return v, nil
	}
	var err error
	v.Messages, err = e.messages(tx, s.id, 0, maxMessages+100, true)
	return v, err
}

// deskList lists sessions, by state, queue, agent and bot: those that wait in the order of the line, others the newest first.
func (e *Engine) deskList(c *call) error {
	after, limit, err := c.page(100)
	if err != nil {
		return err
	}
	state := c.Query.Get("state")
	if state != "" && !slices.Contains([]string{withBot, waiting, human, closed}, state) {
		return engine.Invalid("state", "must be bot, waiting, human or closed")
	}
	return view(e, c, func(tx *db.Tx) (list[*deskSession], error) {
		out := list[*deskSession]{Data: []*deskSession{}}
		order := `id DESC`
		if state == waiting {
			order = `priority DESC, ticket`
		}
		var sessions []*session
		err := each(tx, func(rows *db.Rows) error {
			s, err := e.scanSession(rows.Scan)
			sessions = append(sessions, s)
			return err
		}, `SELECT `+sessionColumns+` FROM assist_session WHERE owner = $1 AND ($2 = '' OR state = $2) AND state <> 'erased' AND ($3 = '' OR queue = $3)
			AND ($4 = '' OR agent = $4) AND ($5 = '' OR bot = $5) AND ($6 = '' OR id < $6) AND expires_at > $7 ORDER BY `+order+` LIMIT $8`,
			c.Owner, state, c.Query.Get("queue"), c.Query.Get("agent"), c.Query.Get("bot"), after, db.Micros(tx.Now()), int64(limit+1))
		if err != nil {
			return out, err
		}
		for i, s := range sessions {
			if i == limit {
				out.More = true
				break
			}
			v, err := e.deskView(tx, s, false)
			if err != nil {
				return out, err
			}
			out.Data = append(out.Data, v)
		}
		return out, nil
	})
}

func (e *Engine) deskGet(c *call) error {
	return view(e, c, func(tx *db.Tx) (*deskSession, error) {
		s, err := e.readSession(tx, c.Owner, c.path("session"), "")
		if err != nil {
			return nil, err
		}
		return e.deskView(tx, s, true)
	})
}

// deskRequest is what agents send; each operation reads its part.
type deskRequest struct {
	Agent        string `json:"agent"`
	Text         string `json:"text"`
	Queue        string `json:"queue"`
	Priority     *int64 `json:"priority"`
	Misrouted    bool   `json:"misrouted"`
	Note         string `json:"note"`
	Resolution   string `json:"resolution"`
	CorrectQueue string `json:"correct_queue"`
	Language     string `json:"language"`
}

// atDesk runs an agent's operation on a session with the routing locked, and answers with the session.
func (e *Engine) atDesk(c *call, op func(tx *db.Tx, s *session, in *deskRequest) error) error {
	var in deskRequest
	if err := c.optional(&in); err != nil {
		return err
	}
	return update(e, c, http.StatusOK, func(tx *db.Tx) (*deskSession, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return nil, err
		}
		s, err := e.readSession(tx, c.Owner, c.path("session"), tx.Dialect().ForUpdate())
		if err != nil {
			return nil, err
		}
		if err := op(tx, s, &in); err != nil {
			return nil, err
		}
		if s, err = e.readSession(tx, c.Owner, s.id, ""); err != nil {
			return nil, err
		}
		return e.deskView(tx, s, true)
	})
}

func requireAgent(tx *db.Tx, owner, id string) (*Agent, error) {
	if id == "" {
		return nil, engine.Invalid("agent", "is missing")
	}
	return readAgent(tx, owner, id)
}

// deskAccept: an agent takes a session that waits in one of its queues, out of turn.
func (e *Engine) deskAccept(c *call) error {
	return e.atDesk(c, func(tx *db.Tx, s *session, in *deskRequest) error {
		a, err := requireAgent(tx, c.Owner, in.Agent)
		if err != nil {
			return err
		}
		if a.Status != "online" {
			return problem.New(problem.Conflict, "assist.agent_away", "the agent is %s; set its status to online first", a.Status)
		}
		if s.state == waiting {
			q, err := readQueue(tx, c.Owner, s.queue)
			if err != nil {
				return err
			}
			if !a.serves(q) || !a.speaks(s.language) {
				return problem.New(problem.Conflict, "assist.agent_unfit", "the agent lacks the skills or the language of this session; assign it instead if it is meant")
			}
		}
		if err := e.give(tx, s, a); err != nil {
			return err
		}
		return e.updateSession(tx, s)
	})
}

// deskAssign: a supervisor gives a session to an agent, whatever its skills; never beyond its capacity.
func (e *Engine) deskAssign(c *call) error {
	return e.atDesk(c, func(tx *db.Tx, s *session, in *deskRequest) error {
		a, err := requireAgent(tx, c.Owner, in.Agent)
		if err != nil {
			return err
		}
		return e.move(tx, s, a)
	})
}

// move gives a session, wherever it is, to an agent. What its former agent leaves is filled up.
func (e *Engine) move(tx *db.Tx, s *session, a *Agent) error {
	switch {
	case s.state == closed:
		return problem.New(problem.Conflict, "assist.closed", "the conversation is closed; begin another one")
	case s.state == human && s.agent == a.ID:
		return nil
	case s.state == withBot:
		s.reason, s.waitingAt = "assigned", tx.Now()
	}
	s.state, s.agent = waiting, ""
	if err := e.give(tx, s, a); err != nil {
		return err
	}
	if err := e.updateSession(tx, s); err != nil {
		return err
	}
	return e.refill(tx, s.owner)
}

// deskReply is a message of the agent to the visitor, in the visitor's language if that can be.
func (e *Engine) deskReply(c *call) error {
	var in deskRequest
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if err := badMessage(in.Text); err != nil {
		return err
	}
	lang, err := optionalLanguage(in.Language)
	if err != nil {
		return err
	}
	text := normalise(in.Text)
	if lang == "" {
		lang = e.identify(text, "")
	}
	var visitors string
	err = e.o.DB.View(c.ctx, func(tx *db.Tx) error {
		s, err := e.readSession(tx, c.Owner, c.path("session"), "")
		if err == nil {
			visitors = s.language
		}
		return err
	})
	if err != nil {
		return err
	}
	m := Message{Role: "agent", Text: text, Language: lang}
	if lang != "" && visitors != "" && lang != visitors {
		m = e.translate(c.ctx, text, lang, visitors).tell()
		m.Role, m.Engine = "agent", ""
	}
	return e.atDesk(c, func(tx *db.Tx, s *session, _ *deskRequest) error {
		if s.state != human {
			return problem.New(problem.Conflict, "assist.not_assigned", "the session has no agent; it is in the state %s", s.state)
		}
		if in.Agent != "" && in.Agent != s.agent {
			return problem.New(problem.Conflict, "assist.other_agent", "another agent has this session")
		}
		a, err := readAgent(tx, c.Owner, s.agent)
		if err != nil {
			return err
		}
		m := m
		m.Agent = a.Name
		if s.replied.IsZero() {
			s.replied = tx.Now()
		}
		s.active = tx.Now()
		if err := e.say(tx, s, &m); err != nil {
			return err
		}
		return e.updateSession(tx, s)
	})
}

// deskNote is a remark that the visitor does not see.
func (e *Engine) deskNote(c *call) error {
	return e.atDesk(c, func(tx *db.Tx, s *session, in *deskRequest) error {
		if err := badMessage(in.Text); err != nil {
			return err
		}
		if err := e.note(tx, s, in); err != nil {
			return err
		}
		return e.updateSession(tx, s)
	})
}

func (e *Engine) note(tx *db.Tx, s *session, in *deskRequest) error {
	m := &Message{Role: "note", Text: normalise(in.Text + in.Note)}
	if s.agent != "" {
		a, err := readAgent(tx, s.owner, s.agent)
		if err != nil && !problem.Is(err, problem.NotFound) {
			return err
		}
		if a != nil {
			m.Agent = a.Name
		}
	}
	return e.say(tx, s, m)
}

// deskTransfer passes a session on to an agent, or to a queue, where it keeps its place in the line. misrouted says that the
// classifier chose wrongly.
func (e *Engine) deskTransfer(c *call) error {
	return e.atDesk(c, func(tx *db.Tx, s *session, in *deskRequest) error {
		if in.Agent == "" && in.Queue == "" {
			return engine.Invalid("queue", "is missing; say to which queue or agent")
		}
		if in.Note != "" {
			if err := badMessage(in.Note); err != nil {
				return err
			}
			if err := e.note(tx, s, &deskRequest{Note: in.Note}); err != nil {
				return err
			}
		}
		if in.Agent != "" {
			a, err := readAgent(tx, c.Owner, in.Agent)
			if err != nil {
				return err
			}
			return e.move(tx, s, a)
		}
		return e.requeue(tx, s, in)
	})
}

func (e *Engine) requeue(tx *db.Tx, s *session, in *deskRequest) (err error) {
	if s.state == closed {
		return problem.New(problem.Conflict, "assist.closed", "the conversation is closed; begin another one")
	}
	q, err := readQueue(tx, s.owner, in.Queue)
	if err != nil {
		return err
	}
	if in.Priority != nil {
		if *in.Priority < 0 || *in.Priority > 9 {
			return engine.Invalid("priority", "must be from 0 to 9")
		}
		s.priority = *in.Priority
	} else {
		s.priority = max(s.priority, int64(q.Priority))
	}
	if s.ticket == 0 {
		if s.ticket, err = nextTicket(tx, s.owner); err != nil {
			return err
		}
		s.reason, s.firstQueue = "assigned", q.ID
	}
	if in.Misrouted {
		s.correctQueue = q.ID
	}
	s.state, s.agent, s.queue = waiting, "", q.ID
	if s.waitingAt.IsZero() {
		s.waitingAt = tx.Now()
	}
	if err := e.say(tx, s, &Message{Role: "event", Event: "transferred", Text: q.Name}); err != nil {
		return err
	}
	if err := e.updateSession(tx, s); err != nil {
		return err
	}
	return e.refill(tx, s.owner)
}

// deskClose ends a conversation with what came of it, and says which queue would have been right if another one was.
func (e *Engine) deskClose(c *call) error {
	return e.atDesk(c, func(tx *db.Tx, s *session, in *deskRequest) error {
		if s.state == closed {
			return problem.New(problem.Conflict, "assist.closed", "the conversation is closed; begin another one")
		}
		switch in.Resolution {
		case "":
			in.Resolution = "solved"
		case "solved", "unsolved", "abandoned", "spam", "duplicate":
		default:
			return engine.Invalid("resolution", "must be solved, unsolved, abandoned, spam or duplicate")
		}
		if in.CorrectQueue != "" {
			if _, err := readQueue(tx, c.Owner, in.CorrectQueue); err != nil {
				return err
			}
			s.correctQueue = in.CorrectQueue
		}
		if in.Note != "" {
			if err := badMessage(in.Note); err != nil {
				return err
			}
			if err := e.note(tx, s, &deskRequest{Note: in.Note}); err != nil {
				return err
			}
		}
		return e.closeSession(tx, s, in.Resolution)
	})
}

// deskErase deletes what was said in a session, as the law gives everybody the right to demand.
func (e *Engine) deskErase(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return deleted{}, err
		}
		s, err := e.readSession(tx, c.Owner, c.path("session"), tx.Dialect().ForUpdate())
		if err != nil {
			return deleted{}, err
		}
		return deleted{s.id, true}, e.eraseSession(tx, s)
	})
}
