package assist

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// The states of a session.
const (
	withBot = "bot"
	waiting = "waiting" // for an agent
	human   = "human"   // an agent has it
	closed  = "closed"
	erased  = "erased" // what was said is gone
)

// session is one conversation.
type session struct {
	id, owner, bot                         string
	secret                                 []byte
	state, language, channel               string
	queue, firstQueue, correctQueue, agent string
	priority                               int64
	ticket                                 int64
	reason, intent, resolution             string
	rating, turns, answered                int64
	seq                                    int64
	created, active                        time.Time
	waitingAt, assigned, replied, closed   time.Time
	expires                                time.Time
	version                                int64
	memory                                 memory
}

// memory is what a session remembers beside its messages.
type memory struct {
	Slots    map[string]string `json:"slots,omitempty"`
	Pending  string            `json:"pending,omitempty"` // intent whose slots are being asked for
	Asking   string            `json:"asking,omitempty"`  // slot that was asked for last
	Asked    int               `json:"asked,omitempty"`   // times in a row
	Topic    string            `json:"topic,omitempty"`   // what the visitor asked about last, in the knowledge's language
	Low      int               `json:"low,omitempty"`     // questions without an answer, in a row
	Fixed    bool              `json:"fixed,omitempty"`   // the visitor chose the language
	Name     string            `json:"name,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Comment  string            `json:"comment,omitempty"`
}

// Message is one entry of a transcript.
type Message struct {
	Seq        int64             `json:"seq"`
	At         time.Time         `json:"at"`
	Role       string            `json:"role"` // user, bot, agent, event, note
	Text       string            `json:"text,omitempty"`
	Language   string            `json:"language,omitempty"`
	Original   string            `json:"original,omitempty"`   // before it was translated
	Translator string            `json:"translator,omitempty"` // engine that translated it
	Quality    string            `json:"quality,omitempty"`    // of the translation; "dictionary" for a gloss
	Agent      string            `json:"agent,omitempty"`      // name of the person
	Event      string            `json:"event,omitempty"`      // queued, assigned, transferred, closed, rated
	Intent     string            `json:"intent,omitempty"`
	Slots      map[string]string `json:"slots,omitempty"`
	Confidence float64           `json:"confidence,omitempty"`
	Citations  []Citation        `json:"citations,omitempty"`
	Engine     string            `json:"engine,omitempty"`
	Model      string            `json:"model,omitempty"`
}

// Citation says where an answer is from. Start and End are byte offsets in the document's text.
type Citation struct {
	Document string `json:"document"`
	Title    string `json:"title"`
	Source   string `json:"source,omitempty"`
	Heading  string `json:"heading,omitempty"`
	Start    int    `json:"start"`
	End      int    `json:"end"`
	Quote    string `json:"quote,omitempty"`
}

const sessionColumns = `id, owner, bot, secret, state, language, channel, queue, first_queue, correct_queue, priority, ticket, agent, reason, intent,
	resolution, rating, turns, answered, seq, created_at, active_at, waiting_at, assigned_at, replied_at, closed_at, expires_at, version, memory`

func (e *Engine) scanSession(scan func(...any) error) (*session, error) {
	var s session
	var created, active, waitingAt, assigned, replied, closedAt, expires int64
	var sealed []byte
	err := scan(&s.id, &s.owner, &s.bot, &s.secret, &s.state, &s.language, &s.channel, &s.queue, &s.firstQueue, &s.correctQueue, &s.priority, &s.ticket,
		&s.agent, &s.reason, &s.intent, &s.resolution, &s.rating, &s.turns, &s.answered, &s.seq, &created, &active, &waitingAt, &assigned, &replied,
		&closedAt, &expires, &s.version, &sealed)
	if err != nil {
		return nil, err
	}
	s.created, s.active, s.waitingAt, s.assigned = timeOf(created), timeOf(active), timeOf(waitingAt), timeOf(assigned)
	s.replied, s.closed, s.expires = timeOf(replied), timeOf(closedAt), timeOf(expires)
	if s.state == erased {
		return &s, nil
	}
	return &s, e.open(sealed, memoryPlace(s.id), &s.memory)
}

// readSession reads an owner's session that has not been erased. lock is the dialect's word for locking, or "".
func (e *Engine) readSession(tx *db.Tx, owner, id, lock string) (*session, error) {
	s, err := e.scanSession(tx.QueryRow(`SELECT `+sessionColumns+` FROM assist_session WHERE owner = $1 AND id = $2`+lock, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) || err == nil && (s.state == erased || !s.expires.After(tx.Now())) {
		return nil, notFound("session", id)
	}
	return s, err
}

func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// admit checks a visitor's secret. A session that is not there and a wrong secret look the same.
func (s *session) admit(secret string) error {
	if subtle.ConstantTimeCompare(s.secret, digest(secret)) != 1 {
		return notFound("session", s.id)
	}
	return nil
}

func (e *Engine) insertSession(tx *db.Tx, s *session) error {
	sealed, err := e.seal(s.memory, memoryPlace(s.id))
	if err != nil {
		return err
	}
	s.version = 1
	_, err = tx.Exec(`INSERT INTO assist_session (id, owner, bot, secret, state, language, channel, seq, created_at, active_at, expires_at, version, sealed_by, memory)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		s.id, s.owner, s.bot, s.secret, s.state, s.language, s.channel, s.seq, db.Micros(s.created), db.Micros(s.active), db.Micros(s.expires), s.version, secret.KeyID(sealed), sealed)
	return err
}

func changedMeanwhile() error {
	return problem.New(problem.Conflict, "assist.session_busy", "the session has been changed meanwhile; try again")
}

// updateSession writes a session where its version still holds.
func (e *Engine) updateSession(tx *db.Tx, s *session) error {
	sealed, err := e.seal(s.memory, memoryPlace(s.id))
	if err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE assist_session SET state = $1, language = $2, queue = $3, first_queue = $4, correct_queue = $5, priority = $6, ticket = $7, agent = $8,
		reason = $9, intent = $10, resolution = $11, rating = $12, turns = $13, answered = $14, seq = $15, active_at = $16, waiting_at = $17, assigned_at = $18,
		replied_at = $19, closed_at = $20, expires_at = $21, sealed_by = $22, memory = $23, version = version + 1 WHERE id = $24 AND version = $25`,
		s.state, s.language, s.queue, s.firstQueue, s.correctQueue, s.priority, s.ticket, s.agent, s.reason, s.intent, s.resolution, s.rating, s.turns, s.answered,
		s.seq, micros(s.active), micros(s.waitingAt), micros(s.assigned), micros(s.replied), micros(s.closed), micros(s.expires), secret.KeyID(sealed), sealed, s.id, s.version)
	if err == nil && n == 0 {
		return changedMeanwhile()
	}
	s.version++
	return err
}

// say appends a message to a session's transcript; the session is to be updated afterwards.
func (e *Engine) say(tx *db.Tx, s *session, m *Message) error {
	s.seq++
	m.Seq, m.At = s.seq, tx.Now()
	sealed, err := e.seal(m, bodyPlace(s.id, m.Seq))
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO assist_message (session, seq, owner, at, role, sealed_by, body) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.id, m.Seq, s.owner, db.Micros(m.At), m.Role, secret.KeyID(sealed), sealed)
	if err == nil {
		tx.AfterCommit(func() { e.hub.wake(s.id) })
	}
	return err
}

// messages reads the transcript behind a message, most at once. Notes are for agents alone.
func (e *Engine) messages(tx *db.Tx, session string, after int64, most int, notes bool) ([]Message, error) {
	out := []Message{}
	err := each(tx, func(rows *db.Rows) error {
		var seq int64
		var role string
		var sealed []byte
		if err := rows.Scan(&seq, &role, &sealed); err != nil {
			return err
		}
		if role == "note" && !notes {
			return nil
		}
		var m Message
		if err := e.open(sealed, bodyPlace(session, seq), &m); err != nil {
			return err
		}
		out = append(out, m)
		return nil
	}, `SELECT seq, role, body FROM assist_message WHERE session = $1 AND seq > $2 ORDER BY seq LIMIT $3`, session, after, int64(most))
	return out, err
}

// erase takes away everything that was said in a session and who said it. Times and outcomes stay, for the figures.
func erase(tx *db.Tx, id string) error {
	if _, err := tx.Exec(`DELETE FROM assist_message WHERE session = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE assist_session SET state = 'erased', agent = '', secret = $1, memory = $1, sealed_by = '', version = version + 1 WHERE id = $2`, []byte{}, id)
	return err
}
