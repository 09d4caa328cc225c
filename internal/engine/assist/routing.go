package assist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// lockRouting makes whoever routes an organisation's sessions take turns: sessions, agents and the line are read and
// changed below it.
func lockRouting(tx *db.Tx, owner string) error {
	_, err := tx.Exec(`INSERT INTO assist_routing (owner, ticket) VALUES ($1, 0) ON CONFLICT (owner) DO UPDATE SET ticket = assist_routing.ticket`, owner)
	return err
}

func nextTicket(tx *db.Tx, owner string) (n int64, err error) {
	err = tx.QueryRow(`UPDATE assist_routing SET ticket = ticket + 1 WHERE owner = $1 RETURNING ticket`, owner).Scan(&n)
	return n, err
}

// serves reports whether an agent can take sessions of a queue.
func (a *Agent) serves(q *Queue) bool {
	for _, skill := range q.Skills {
		if !slices.ContainsFunc(a.Skills, func(s string) bool { return strings.EqualFold(s, skill) }) {
			return false
		}
	}
	return true
}

func (a *Agent) speaks(lang string) bool {
	return len(a.Languages) == 0 || lang == "" || slices.Contains(a.Languages, lang)
}

func (a *Agent) free() bool { return a.Status == "online" && a.Load < a.Capacity }

// fitting are the queues that take a language; all, if none does.
func fitting(queues []*Queue, lang string) []*Queue {
	fit := slices.DeleteFunc(slices.Clone(queues), func(q *Queue) bool {
		return len(q.Languages) > 0 && lang != "" && !slices.Contains(q.Languages, lang)
	})
	if len(fit) == 0 {
		return queues
	}
	return fit
}

// intended is the queue wanted, or one for the same work in the visitor's language, or nil.
func intended(queues, fit []*Queue, wanted string) *Queue {
	i := slices.IndexFunc(queues, func(q *Queue) bool { return q.ID == wanted })
	if i < 0 {
		return nil
	}
	q := queues[i]
	if slices.Contains(fit, q) {
		return q
	}
	for _, other := range fit {
		if len(q.Skills) > 0 && slices.Equal(other.Skills, q.Skills) {
			return other
		}
	}
	return q
}

// botQueues are a bot's queues in its order.
func botQueues(tx *db.Tx, b *Bot, owner string) ([]*Queue, error) {
	all, err := listQueues(tx, owner)
	var queues []*Queue
	for _, id := range b.Queues {
		if i := slices.IndexFunc(all, func(q *Queue) bool { return q.ID == id }); i >= 0 {
			queues = append(queues, all[i])
		}
	}
	return queues, err
}

// leastQueue is how like a queue's examples what was said must be to belong there.
const leastQueue = 0.1

// classify chooses the queue for a session that is handed over: the intent's, else the one whose examples are most like what was
// said, else the first of those in the visitor's language.
func (e *Engine) classify(ctx context.Context, b *Bot, owner, wanted, lang, said string) (string, error) {
	var queues []*Queue
	err := e.o.DB.View(ctx, func(tx *db.Tx) (err error) { queues, err = botQueues(tx, b, owner); return err })
	if err != nil || len(queues) == 0 {
		return "", err
	}
	fit := fitting(queues, lang)
	if q := intended(queues, fit, wanted); q != nil {
		return q.ID, nil
	}
	if len(fit) == 1 {
		return fit[0].ID, nil
	}
	version := fnv.New64a()
	labels, examples := make([]string, len(fit)), make([][]string, len(fit))
	for i, q := range fit {
		labels[i], examples[i] = q.ID, append([]string{q.Name}, q.Examples...)
		fmt.Fprintf(version, "%q %q", q.ID, examples[i])
	}
	// Which of two sets of queues is newer nobody knows, and there is one for each language: each is kept by itself.
	u, err := e.learned(ctx, fmt.Sprintf("queues of %s %x", b.ID, version.Sum64()), 0, labels, examples)
	if err != nil {
		return "", err
	}
	if ranked := u.rank(said, e.vector(ctx, said, lang)); len(ranked) > 0 && ranked[0].Confidence >= leastQueue {
		return ranked[0].Label, nil
	}
	return fit[0].ID, nil
}

// queueUp puts a session into a line, the one that was chosen if it is still there, and gives it to an agent who is free. The
// session is to be updated afterwards.
func (e *Engine) queueUp(tx *db.Tx, s *session, b *Bot, reason, chosen string, priority int) error {
	if err := lockRouting(tx, s.owner); err != nil {
		return err
	}
	queues, err := botQueues(tx, b, s.owner)
	if err != nil {
		return err
	}
	if len(queues) == 0 {
		return problem.New(problem.Conflict, "assist.no_queue", "this bot has no queue to hand the conversation over to")
	}
	q := queues[max(0, slices.IndexFunc(queues, func(q *Queue) bool { return q.ID == chosen }))]
	if s.ticket, err = nextTicket(tx, s.owner); err != nil {
		return err
	}
	s.state, s.agent, s.queue, s.reason, s.waitingAt = waiting, "", q.ID, reason, tx.Now()
	if s.firstQueue == "" {
		s.firstQueue = q.ID
	}
	s.priority = int64(max(q.Priority, priority))
	s.memory.Pending, s.memory.Asking, s.memory.Low = "", "", 0
	if err := e.say(tx, s, &Message{Role: "event", Event: "queued", Text: q.Name, Intent: s.intent}); err != nil {
		return err
	}
	return e.place(tx, s, q)
}

// place gives a waiting session to the free agent with the least to do, if there is one.
func (e *Engine) place(tx *db.Tx, s *session, q *Queue) error {
	agents, err := listAgents(tx, s.owner)
	if err != nil {
		return err
	}
	agents = slices.DeleteFunc(agents, func(a *Agent) bool {
		return !a.Automatic || !a.free() || !a.serves(q) || !a.speaks(s.language)
	})
	if len(agents) == 0 {
		return nil
	}
	best := slices.MinFunc(agents, func(a, b *Agent) int {
		return cmp.Or(cmp.Compare(a.Load*b.Capacity, b.Load*a.Capacity), cmp.Compare(a.assigned, b.assigned), cmp.Compare(a.ID, b.ID))
	})
	return e.give(tx, s, best)
}

// give assigns a session to an agent. Called with the routing locked, a session as it is now, and an agent read below the lock.
func (e *Engine) give(tx *db.Tx, s *session, a *Agent) error {
	if s.state != waiting {
		return problem.New(problem.Conflict, "assist.not_waiting", "the session does not wait for an agent; it is in the state %s", s.state)
	}
	if a.Load >= a.Capacity {
		return problem.New(problem.Conflict, "assist.agent_full", "the agent %q has %d sessions, which is all that it can have", a.Name, a.Load)
	}
	s.state, s.agent = human, a.ID
	if s.assigned.IsZero() {
		s.assigned = tx.Now()
	}
	a.Load++
	if _, err := tx.Exec(`UPDATE assist_agent SET assigned_at = $1 WHERE id = $2`, db.Micros(tx.Now()), a.ID); err != nil {
		return err
	}
	return e.say(tx, s, &Message{Role: "event", Event: "assigned", Agent: a.Name})
}

// take gives the first waiting session that the agent can serve to it: nil where there is none. Called with the routing locked.
func (e *Engine) take(tx *db.Tx, a *Agent, owner string) (*session, error) {
	queues, err := listQueues(tx, owner)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, q := range queues {
		if a.serves(q) {
			ids = append(ids, q.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	text := `SELECT ` + sessionColumns + ` FROM assist_session WHERE owner = $1 AND state = 'waiting' AND queue` + tx.Dialect().In("$2")
	args := []any{owner, ids}
	if len(a.Languages) > 0 {
		text += ` AND language` + tx.Dialect().In("$3")
		args = append(args, append(slices.Clone(a.Languages), ""))
	}
	s, err := e.scanSession(tx.QueryRow(text+` ORDER BY priority DESC, ticket LIMIT 1`, args...).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := e.give(tx, s, a); err != nil {
		return nil, err
	}
	return s, e.updateSession(tx, s)
}

// refill gives waiting sessions to agents who take them automatically and are free. Called with the routing locked, whenever an
// agent may have become free or able.
func (e *Engine) refill(tx *db.Tx, owner string) error {
	var n int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM assist_session WHERE owner = $1 AND state = 'waiting'`, owner).Scan(&n); err != nil || n == 0 {
		return err
	}
	agents, err := listAgents(tx, owner)
	if err != nil {
		return err
	}
	agents = slices.DeleteFunc(agents, func(a *Agent) bool { return !a.Automatic })
	for {
		slices.SortFunc(agents, func(a, b *Agent) int {
			return cmp.Or(cmp.Compare(a.Load*b.Capacity, b.Load*a.Capacity), cmp.Compare(a.assigned, b.assigned), cmp.Compare(a.ID, b.ID))
		})
		given := false
		for _, a := range agents {
			if !a.free() {
				continue
			}
			s, err := e.take(tx, a, owner)
			if err != nil {
				return err
			}
			if s != nil {
				a.assigned, given = db.Micros(tx.Now()), true
				break
			}
		}
		if !given {
			return nil
		}
	}
}

// position is a waiting session's place in its queue, from 1.
func position(tx *db.Tx, s *session) (n int64, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM assist_session WHERE owner = $1 AND state = 'waiting' AND queue = $2 AND (priority > $3 OR priority = $3 AND ticket < $4)`,
		s.owner, s.queue, s.priority, s.ticket).Scan(&n)
	return n + 1, err
}
