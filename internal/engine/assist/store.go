package assist

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// seal seals v as JSON for a place in the database.
func (e *Engine) seal(v any, place string) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return e.o.Sealer.SealBytes(data, place), nil
}

func (e *Engine) open(sealed []byte, place string, v any) error {
	data, err := e.openBytes(sealed, place)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (e *Engine) openBytes(sealed []byte, place string) ([]byte, error) {
	data, err := e.o.Sealer.OpenBytes(sealed, place)
	if err != nil {
		return nil, problem.New(problem.Conflict, "assist.sealed", "what is stored here cannot be opened: the key that sealed it is not in the key ring any more").Because(err)
	}
	return data, nil
}

// The places of sealed values.
func headPlace(doc string) string       { return "assist document " + doc + " head" }
func contentPlace(doc string) string    { return "assist document " + doc + " content" }
func searchPlace(doc string) string     { return "assist document " + doc + " search" }
func memoryPlace(session string) string { return "assist session " + session }
func bodyPlace(session string, seq int64) string {
	return fmt.Sprintf("assist message %s %d", session, seq)
}

// each runs scan on every row of a query.
func each(tx *db.Tx, scan func(rows *db.Rows) error, query string, args ...any) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// taken turns the violation of a unique name into what the caller can act on.
func taken(err error, what, name string) error {
	if db.IsUnique(err) {
		return problem.New(problem.Conflict, "assist.taken", "there is already a %s named %q", what, name)
	}
	return err
}

// maxOwned bounds how many bots, knowledge bases, queues and agents an organisation may have, of each.
const maxOwned = 1000

func room(tx *db.Tx, table, owner string) error {
	var n int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM `+table+` WHERE owner = $1`, owner).Scan(&n); err != nil {
		return err
	}
	if n >= maxOwned {
		return problem.New(problem.Conflict, "assist.too_many", "an organisation may have %d of these; delete some", maxOwned)
	}
	return nil
}

func exists(tx *db.Tx, table, owner, id string) (bool, error) {
	var n int64
	err := tx.QueryRow(`SELECT COUNT(*) FROM `+table+` WHERE owner = $1 AND id = $2`, owner, id).Scan(&n)
	return n > 0, err
}

// --- bots

const botColumns = `id, owner, settings, created_at, updated_at, version`

func scanBot(scan func(...any) error) (*Bot, error) {
	var b Bot
	var id, owner, settings string
	var created, updated, version int64
	if err := scan(&id, &owner, &settings, &created, &updated, &version); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(settings), &b); err != nil {
		return nil, err
	}
	b.ID, b.owner, b.Version = id, owner, version
	b.Created, b.Updated = db.Time(created), db.Time(updated)
	for i := range b.Intents {
		for j := range b.Intents[i].Slots {
			if err := b.Intents[i].Slots[j].compile(); err != nil {
				return nil, err
			}
		}
	}
	return &b, nil
}

// readBot finds a bot by its id or its name.
func readBot(tx *db.Tx, owner, id string) (*Bot, error) {
	b, err := scanBot(tx.QueryRow(`SELECT `+botColumns+` FROM assist_bot WHERE owner = $1 AND (id = $2 OR name = $2)`, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, notFound("bot", id)
	}
	return b, err
}

func listBots(tx *db.Tx, owner string) ([]*Bot, error) {
	out := []*Bot{}
	err := each(tx, func(rows *db.Rows) error {
		b, err := scanBot(rows.Scan)
		out = append(out, b)
		return err
	}, `SELECT `+botColumns+` FROM assist_bot WHERE owner = $1 ORDER BY id`, owner)
	return out, err
}

// writeBot inserts a bot (version 0) or updates it where its version still holds.
func writeBot(tx *db.Tx, owner string, b *Bot) error {
	for what, ids := range map[string][]string{"knowledge": b.Knowledge, "queue": b.Queues} {
		for _, id := range ids {
			ok, err := exists(tx, "assist_"+what, owner, id)
			if err != nil {
				return err
			}
			if !ok {
				return notFound(what, id)
			}
		}
	}
	b.Updated = tx.Now()
	if b.Version > 0 {
		settings, err := json.Marshal(b)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE assist_bot SET name = $1, settings = $2, updated_at = $3, version = version + 1 WHERE owner = $4 AND id = $5 AND version = $6`,
			b.Name, string(settings), db.Micros(b.Updated), owner, b.ID, b.Version)
		if err == nil && n == 0 {
			return problem.New(problem.Precondition, "assist.stale", "it has been changed meanwhile; read it again")
		}
		b.Version++
		return taken(err, "bot", b.Name)
	}
	if err := room(tx, "assist_bot", owner); err != nil {
		return err
	}
	b.ID, b.Created, b.Version = db.NewID("bot", tx.Now()), tx.Now(), 1
	settings, err := json.Marshal(b)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO assist_bot (id, owner, name, settings, created_at, updated_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		b.ID, owner, b.Name, string(settings), db.Micros(b.Created), db.Micros(b.Updated), b.Version)
	return taken(err, "bot", b.Name)
}

func deleteBot(tx *db.Tx, owner, id string) error {
	n, err := tx.Exec(`DELETE FROM assist_bot WHERE owner = $1 AND id = $2`, owner, id)
	if err == nil && n == 0 {
		return notFound("bot", id)
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM assist_message WHERE session IN (SELECT id FROM assist_session WHERE bot = $1)`, id); err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM assist_session WHERE bot = $1`, id)
	return err
}

// --- queues and agents

func scanQueue(scan func(...any) error) (*Queue, error) {
	var q Queue
	var id, settings string
	var created int64
	if err := scan(&id, &settings, &created); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(settings), &q); err != nil {
		return nil, err
	}
	q.ID, q.Created = id, db.Time(created)
	return &q, nil
}

func readQueue(tx *db.Tx, owner, id string) (*Queue, error) {
	q, err := scanQueue(tx.QueryRow(`SELECT id, settings, created_at FROM assist_queue WHERE owner = $1 AND id = $2`, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, notFound("queue", id)
	}
	return q, err
}

func listQueues(tx *db.Tx, owner string) ([]*Queue, error) {
	out := []*Queue{}
	err := each(tx, func(rows *db.Rows) error {
		q, err := scanQueue(rows.Scan)
		out = append(out, q)
		return err
	}, `SELECT id, settings, created_at FROM assist_queue WHERE owner = $1 ORDER BY id`, owner)
	return out, err
}

func writeQueue(tx *db.Tx, owner string, q *Queue) error {
	settings, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if q.ID != "" {
		n, err := tx.Exec(`UPDATE assist_queue SET name = $1, settings = $2 WHERE owner = $3 AND id = $4`, q.Name, string(settings), owner, q.ID)
		if err == nil && n == 0 {
			return notFound("queue", q.ID)
		}
		return taken(err, "queue", q.Name)
	}
	if err := room(tx, "assist_queue", owner); err != nil {
		return err
	}
	q.ID, q.Created = db.NewID("que", tx.Now()), tx.Now()
	_, err = tx.Exec(`INSERT INTO assist_queue (id, owner, name, settings, created_at) VALUES ($1, $2, $3, $4, $5)`,
		q.ID, owner, q.Name, string(settings), db.Micros(q.Created))
	return taken(err, "queue", q.Name)
}

const agentColumns = `id, status, capacity, automatic, settings, assigned_at, created_at,
	(SELECT COUNT(*) FROM assist_session s WHERE s.owner = assist_agent.owner AND s.state = 'human' AND s.agent = assist_agent.id)`

func scanAgent(scan func(...any) error) (*Agent, error) {
	var a Agent
	var id, status, settings string
	var capacity, automatic, created, load int64
	if err := scan(&id, &status, &capacity, &automatic, &settings, &a.assigned, &created, &load); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		return nil, err
	}
	a.ID, a.Status, a.Capacity, a.Automatic, a.Load, a.Created = id, status, int(capacity), automatic == 1, int(load), db.Time(created)
	return &a, nil
}

func readAgent(tx *db.Tx, owner, id string) (*Agent, error) {
	a, err := scanAgent(tx.QueryRow(`SELECT `+agentColumns+` FROM assist_agent WHERE owner = $1 AND id = $2`, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, notFound("agent", id)
	}
	return a, err
}

func listAgents(tx *db.Tx, owner string) ([]*Agent, error) {
	out := []*Agent{}
	err := each(tx, func(rows *db.Rows) error {
		a, err := scanAgent(rows.Scan)
		out = append(out, a)
		return err
	}, `SELECT `+agentColumns+` FROM assist_agent WHERE owner = $1 ORDER BY id`, owner)
	return out, err
}

func writeAgent(tx *db.Tx, owner string, a *Agent) error {
	settings, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if a.ID != "" {
		n, err := tx.Exec(`UPDATE assist_agent SET name = $1, status = $2, capacity = $3, automatic = $4, settings = $5 WHERE owner = $6 AND id = $7`,
			a.Name, a.Status, int64(a.Capacity), db.Bool(a.Automatic), string(settings), owner, a.ID)
		if err == nil && n == 0 {
			return notFound("agent", a.ID)
		}
		return taken(err, "agent", a.Name)
	}
	if err := room(tx, "assist_agent", owner); err != nil {
		return err
	}
	a.ID, a.Created = db.NewID("agt", tx.Now()), tx.Now()
	_, err = tx.Exec(`INSERT INTO assist_agent (id, owner, name, status, capacity, automatic, settings, assigned_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)`,
		a.ID, owner, a.Name, a.Status, int64(a.Capacity), db.Bool(a.Automatic), string(settings), db.Micros(a.Created))
	return taken(err, "agent", a.Name)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return db.Micros(t)
}

func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return db.Time(us)
}
