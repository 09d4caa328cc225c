package assist

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// view runs fn in a reading transaction and answers with what it found.
func view[T any](e *Engine, c *call, fn func(tx *db.Tx) (T, error)) error {
	var v T
	err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) { v, err = fn(tx); return err })
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, v)
}

// update runs fn in a writing transaction and answers with what it made.
func update[T any](e *Engine, c *call, status int, fn func(tx *db.Tx) (T, error)) error {
	var v T
	err := e.o.DB.Update(c.ctx, func(tx *db.Tx) (err error) { v, err = fn(tx); return err })
	if err != nil {
		return err
	}
	return c.json(status, v)
}

// list is the shape of every list.
type list[T any] struct {
	Data []T  `json:"data"`
	More bool `json:"has_more"`
}

type deleted struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}

// page reads ?after= and ?limit=.
func (c *call) page(most int) (after string, limit int, err error) {
	limit = most
	if s := c.Query.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > most {
			return "", 0, engine.Invalid("limit", "must be from 1 to "+strconv.Itoa(most))
		}
	}
	return c.Query.Get("after"), limit, nil
}

// --- bots

func (e *Engine) botsList(c *call) error {
	return view(e, c, func(tx *db.Tx) (list[*Bot], error) {
		bots, err := listBots(tx, c.Owner)
		return list[*Bot]{Data: bots}, err
	})
}

func (e *Engine) botsGet(c *call) error {
	return view(e, c, func(tx *db.Tx) (*Bot, error) { return readBot(tx, c.Owner, c.path("bot")) })
}

func (e *Engine) botsCreate(c *call) error {
	var b Bot
	if err := engine.Decode(c.Body, &b); err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	return update(e, c, http.StatusCreated, func(tx *db.Tx) (*Bot, error) {
		b.ID, b.Version = "", 0
		return &b, writeBot(tx, c.Owner, &b)
	})
}

// botsReplace replaces a bot's settings. A version in the body, if there is one, must still hold.
func (e *Engine) botsReplace(c *call) error {
	var in Bot
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	return update(e, c, http.StatusOK, func(tx *db.Tx) (*Bot, error) {
		b := in
		was, err := readBot(tx, c.Owner, c.path("bot"))
		if err != nil {
			return nil, err
		}
		if b.Version == 0 {
			b.Version = was.Version
		}
		b.ID, b.Created = was.ID, was.Created
		return &b, writeBot(tx, c.Owner, &b)
	})
}

func (e *Engine) botsDelete(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		b, err := readBot(tx, c.Owner, c.path("bot"))
		if err != nil {
			return deleted{}, err
		}
		return deleted{b.ID, true}, deleteBot(tx, c.Owner, b.ID)
	})
}

// botsIntents tells what a bot understands of a text, without a session.
func (e *Engine) botsIntents(c *call) error {
	var in struct {
		Text string `json:"text"`
	}
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if err := badMessage(in.Text); err != nil {
		return err
	}
	var b *Bot
	err := e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) { b, err = readBot(tx, c.Owner, c.path("bot")); return err })
	if err != nil {
		return err
	}
	u, err := e.intents(c.ctx, b)
	if err != nil {
		return err
	}
	ranked := u.rank(in.Text, e.vector(c.ctx, in.Text, e.identify(in.Text, b.Languages[0])))
	for i := range ranked {
		ranked[i].Confidence = round(ranked[i].Confidence)
	}
	out := struct {
		Intents []Score           `json:"intents"`
		Slots   map[string]string `json:"slots"`
		Engine  string            `json:"engine"`
		Model   string            `json:"model"`
	}{append([]Score{}, ranked...), map[string]string{}, engineName, "intents"}
	if len(ranked) > 0 {
		for _, s := range b.intent(ranked[0].Label).Slots {
			if v, ok := s.find(in.Text, false, e.clock.Now()); ok {
				out.Slots[s.Name] = v
			}
		}
	}
	return c.json(http.StatusOK, out)
}

// --- queues and agents

func (e *Engine) queuesList(c *call) error {
	return view(e, c, func(tx *db.Tx) (list[*Queue], error) {
		queues, err := listQueues(tx, c.Owner)
		return list[*Queue]{Data: queues}, err
	})
}

func (e *Engine) queuesCreate(c *call) error {
	return e.queueWrite(c, http.StatusCreated, "")
}

func (e *Engine) queuesReplace(c *call) error {
	return e.queueWrite(c, http.StatusOK, c.path("queue"))
}

func (e *Engine) queueWrite(c *call, status int, id string) error {
	var q Queue
	if err := engine.Decode(c.Body, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	return update(e, c, status, func(tx *db.Tx) (*Queue, error) {
		q.ID = id
		if err := lockRouting(tx, c.Owner); err != nil {
			return nil, err
		}
		if id != "" {
			was, err := readQueue(tx, c.Owner, id)
			if err != nil {
				return nil, err
			}
			q.Created = was.Created
		}
		if err := writeQueue(tx, c.Owner, &q); err != nil {
			return nil, err
		}
		return &q, e.refill(tx, c.Owner)
	})
}

// queuesDelete deletes a queue that nobody waits in; bots lose it.
func (e *Engine) queuesDelete(c *call) error {
	id := c.path("queue")
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return deleted{}, err
		}
		if _, err := readQueue(tx, c.Owner, id); err != nil {
			return deleted{}, err
		}
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM assist_session WHERE owner = $1 AND state = 'waiting' AND queue = $2`, c.Owner, id).Scan(&n); err != nil {
			return deleted{}, err
		}
		if n > 0 {
			return deleted{}, problem.New(problem.Conflict, "assist.queue_used", "%d sessions wait in this queue; transfer them first", n)
		}
		bots, err := listBots(tx, c.Owner)
		if err != nil {
			return deleted{}, err
		}
		for _, b := range bots {
			i := slices.Index(b.Queues, id)
			if i < 0 {
				continue
			}
			b.Queues = slices.Delete(b.Queues, i, i+1)
			for k := range b.Intents {
				if b.Intents[k].Queue == id {
					b.Intents[k].Queue = ""
				}
			}
			if err := writeBot(tx, c.Owner, b); err != nil {
				return deleted{}, err
			}
		}
		_, err = tx.Exec(`DELETE FROM assist_queue WHERE owner = $1 AND id = $2`, c.Owner, id)
		return deleted{id, true}, err
	})
}

func (e *Engine) agentsList(c *call) error {
	return view(e, c, func(tx *db.Tx) (list[*Agent], error) {
		agents, err := listAgents(tx, c.Owner)
		return list[*Agent]{Data: agents}, err
	})
}

func (e *Engine) agentsGet(c *call) error {
	return view(e, c, func(tx *db.Tx) (*Agent, error) { return readAgent(tx, c.Owner, c.path("agent")) })
}

func (e *Engine) agentsCreate(c *call) error  { return e.agentWrite(c, http.StatusCreated, "") }
func (e *Engine) agentsReplace(c *call) error { return e.agentWrite(c, http.StatusOK, c.path("agent")) }

func (e *Engine) agentWrite(c *call, status int, id string) error {
	in := Agent{Capacity: 3, Automatic: true}
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	return update(e, c, status, func(tx *db.Tx) (*Agent, error) {
		a := in
		a.ID, a.Load = id, 0
		return e.changeAgent(tx, c.Owner, &a)
	})
}

// changeAgent stores an agent and gives it what it may now take.
func (e *Engine) changeAgent(tx *db.Tx, owner string, a *Agent) (*Agent, error) {
	if err := lockRouting(tx, owner); err != nil {
		return nil, err
	}
	if err := writeAgent(tx, owner, a); err != nil {
		return nil, err
	}
	if err := e.refill(tx, owner); err != nil {
		return nil, err
	}
	return readAgent(tx, owner, a.ID)
}

func (e *Engine) agentsStatus(c *call) error {
	var in struct {
		Status string `json:"status"`
	}
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	return update(e, c, http.StatusOK, func(tx *db.Tx) (*Agent, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return nil, err
		}
		a, err := readAgent(tx, c.Owner, c.path("agent"))
		if err != nil {
			return nil, err
		}
		a.Status = in.Status
		if in.Status == "" {
			return nil, engine.Invalid("status", "must be online, away or offline")
		}
		if err := a.check(); err != nil {
			return nil, err
		}
		return e.changeAgent(tx, c.Owner, a)
	})
}

// agentsDelete deletes an agent who has no session.
func (e *Engine) agentsDelete(c *call) error {
	id := c.path("agent")
	return update(e, c, http.StatusOK, func(tx *db.Tx) (deleted, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return deleted{}, err
		}
		a, err := readAgent(tx, c.Owner, id)
		if err != nil {
			return deleted{}, err
		}
		if a.Load > 0 {
			return deleted{}, problem.New(problem.Conflict, "assist.agent_used", "the agent has %d sessions; transfer or close them first", a.Load)
		}
		_, err = tx.Exec(`DELETE FROM assist_agent WHERE owner = $1 AND id = $2`, c.Owner, id)
		return deleted{id, true}, err
	})
}

// agentsNext gives an agent the next session of its queues, or null.
func (e *Engine) agentsNext(c *call) error {
	return update(e, c, http.StatusOK, func(tx *db.Tx) (map[string]any, error) {
		if err := lockRouting(tx, c.Owner); err != nil {
			return nil, err
		}
		a, err := readAgent(tx, c.Owner, c.path("agent"))
		if err != nil {
			return nil, err
		}
		if a.Status != "online" {
			return nil, problem.New(problem.Conflict, "assist.agent_away", "the agent is %s; set its status to online first", a.Status)
		}
		s, err := e.take(tx, a, c.Owner)
		if err != nil || s == nil {
			return map[string]any{"session": nil}, err
		}
		view, err := e.deskView(tx, s, true)
		return map[string]any{"session": view}, err
	})
}
