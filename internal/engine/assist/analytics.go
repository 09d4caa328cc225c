package assist

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
)

// maxSpan bounds the period of a report; maxCounted the sessions that are read for it.
const (
	maxSpan    = 400 * 24 * time.Hour
	maxCounted = 200_000
)

// Effect is what a bot and its desk achieved in a period: the sessions that began in it.
type Effect struct {
	From       time.Time    `json:"from"`
	To         time.Time    `json:"to"`
	Sessions   int          `json:"sessions"` // in which the visitor said something
	Messages   int64        `json:"messages"` // of visitors
	Answered   float64      `json:"answered_rate"`
	Contained  int          `json:"contained"`        // ended without a person
	Rate       float64      `json:"containment_rate"` // of those that have ended
	HandedOver int          `json:"handed_over"`
	Reasons    []count      `json:"handover_reasons"`
	Abandoned  int          `json:"abandoned"` // left the line before a person came
	Routing    accuracy     `json:"routing"`
	Wait       duration     `json:"first_response"` // seconds from the hand-over to the first message of a person
	Resolution duration     `json:"resolution"`     // seconds from the beginning to the end
	Outcomes   []count      `json:"resolutions"`
	Rating     satisfaction `json:"satisfaction"`
	Languages  []count      `json:"languages"`
	Intents    []count      `json:"intents"`
	Channels   []count      `json:"channels"`
	Days       []dayCount   `json:"days"`
	Cut        bool         `json:"truncated,omitempty"` // there are more sessions than were read
}

type count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

type dayCount struct {
	Day        string `json:"day"`
	Sessions   int    `json:"sessions"`
	HandedOver int    `json:"handed_over"`
}

// accuracy is the share of sessions handed over that came into the right queue, as agents said by correcting it.
type accuracy struct {
	Routed    int     `json:"routed"`
	Corrected int     `json:"corrected"`
	Accuracy  float64 `json:"accuracy"`
}

type duration struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean_seconds"`
	P50   float64 `json:"p50_seconds"`
	P90   float64 `json:"p90_seconds"`
}

type satisfaction struct {
	Ratings      int     `json:"ratings"`
	Mean         float64 `json:"mean"`
	Share        float64 `json:"satisfied_rate"` // 4 or 5
	Distribution [5]int  `json:"distribution"`   // of 1 to 5
}

// idleEnd: a conversation with the bot is over when nothing was said for so long.
const idleEnd = 30 * time.Minute

func (e *Engine) botsAnalytics(c *call) error {
	to, err := when(c.Query.Get("to"), "to", e.clock.Now().UTC())
	if err != nil {
		return err
	}
	from, err := when(c.Query.Get("from"), "from", to.AddDate(0, 0, -30))
	if err != nil {
		return err
	}
	if !from.Before(to) || to.Sub(from) > maxSpan {
		return engine.Invalid("from", "must be before to, by 400 days at most")
	}
	var now, before *Effect
	var b *Bot
	err = e.o.DB.View(c.ctx, func(tx *db.Tx) error {
		if b, err = readBot(tx, c.Owner, c.path("bot")); err != nil {
			return err
		}
		if now, err = e.effect(tx, c.Owner, b.ID, from, to); err != nil {
			return err
		}
		before, err = e.effect(tx, c.Owner, b.ID, from.Add(-to.Sub(from)), from)
		return err
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"bot": b.ID, "period": now, "before": before})
}

// when reads a day or a time.
func when(s, field string, otherwise time.Time) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return otherwise, engine.Invalid(field, "must be a day like 2026-01-31 or a time like 2026-01-31T09:30:00Z")
}

// effect reads the sessions of a period. Erased ones count: their times and outcomes are no personal data.
func (e *Engine) effect(tx *db.Tx, owner, bot string, from, to time.Time) (*Effect, error) {
	t := &tally{Effect: Effect{From: from, To: to}, now: tx.Now(), reasons: map[string]int{}, outcomes: map[string]int{}, languages: map[string]int{},
		intents: map[string]int{}, channels: map[string]int{}, days: map[string]*dayCount{}}
	n := 0
	err := each(tx, func(rows *db.Rows) error {
		if n++; n > maxCounted {
			t.Cut = true
			return nil
		}
		var s session
		var created, active, waitingAt, replied, closedAt int64
		err := rows.Scan(&s.state, &s.language, &s.channel, &s.firstQueue, &s.correctQueue, &s.reason, &s.intent, &s.resolution, &s.rating, &s.turns, &s.answered,
			&created, &active, &waitingAt, &replied, &closedAt)
		if err != nil {
			return err
		}
		s.created, s.active, s.waitingAt, s.replied, s.closed = timeOf(created), timeOf(active), timeOf(waitingAt), timeOf(replied), timeOf(closedAt)
		t.add(&s)
		return nil
	}, `SELECT state, language, channel, first_queue, correct_queue, reason, intent, resolution, rating, turns, answered, created_at, active_at, waiting_at, replied_at, closed_at
		FROM assist_session WHERE bot = $1 AND owner = $2 AND created_at >= $3 AND created_at < $4 ORDER BY created_at LIMIT $5`,
		bot, owner, db.Micros(from), db.Micros(to), int64(maxCounted+1))
	return t.sum(), err
}

// tally adds sessions up.
type tally struct {
	Effect
	now                                   time.Time
	answered                              int64
	ended                                 int
	waits, resolutions                    []float64
	reasons, outcomes, languages, intents map[string]int
	channels                              map[string]int
	days                                  map[string]*dayCount
	stars                                 int64
}

func (t *tally) add(s *session) {
	if s.turns == 0 && s.waitingAt.IsZero() {
		return // opened and left without a word
	}
	t.Sessions++
	t.Messages += s.turns
	t.answered += s.answered
	t.languages[s.language]++
	t.channels[s.channel]++
	if s.intent != "" {
		t.intents[s.intent]++
	}
	day := s.created.Format(time.DateOnly)
	if t.days[day] == nil {
		t.days[day] = &dayCount{Day: day}
	}
	t.days[day].Sessions++
	handed := !s.waitingAt.IsZero()
	switch over := !s.closed.IsZero() || t.now.Sub(s.active) > idleEnd; {
	case handed:
		t.HandedOver++
		t.ended++
		t.reasons[s.reason]++
		t.days[day].HandedOver++
	case over:
		t.Contained++
		t.ended++
	}
	if s.firstQueue != "" && (!s.replied.IsZero() || s.correctQueue != "") { // an agent has looked at it
		t.Routing.Routed++
		if s.correctQueue != "" && s.correctQueue != s.firstQueue {
			t.Routing.Corrected++
		}
	}
	if !s.replied.IsZero() {
		t.waits = append(t.waits, s.replied.Sub(s.waitingAt).Seconds())
	}
	if !s.closed.IsZero() {
		t.outcomes[s.resolution]++
		t.resolutions = append(t.resolutions, s.closed.Sub(s.created).Seconds())
		if s.resolution == "abandoned" {
			t.Abandoned++
		}
	}
	if s.rating > 0 {
		t.Effect.Rating.Ratings++
		t.Effect.Rating.Distribution[s.rating-1]++
		t.stars += s.rating
	}
}

func (t *tally) sum() *Effect {
	x := t.Effect
	x.Answered = ratio(float64(t.answered), float64(x.Messages))
	x.Rate = ratio(float64(x.Contained), float64(t.ended))
	x.Routing.Accuracy = ratio(float64(x.Routing.Routed-x.Routing.Corrected), float64(x.Routing.Routed))
	x.Wait, x.Resolution = durations(t.waits), durations(t.resolutions)
	x.Rating.Mean = ratio(float64(t.stars), float64(x.Rating.Ratings))
	x.Rating.Share = ratio(float64(x.Rating.Distribution[3]+x.Rating.Distribution[4]), float64(x.Rating.Ratings))
	x.Reasons, x.Outcomes, x.Languages = counts(t.reasons), counts(t.outcomes), counts(t.languages)
	x.Intents, x.Channels = counts(t.intents), counts(t.channels)
	x.Days = []dayCount{}
	for _, d := range t.days {
		x.Days = append(x.Days, *d)
	}
	slices.SortFunc(x.Days, func(a, b dayCount) int { return cmp.Compare(a.Day, b.Day) })
	return &x
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return round(a / b)
}

func counts(m map[string]int) []count {
	out := []count{}
	for name, n := range m {
		out = append(out, count{name, n})
	}
	slices.SortFunc(out, func(a, b count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return out[:min(len(out), 100)]
}

func durations(s []float64) duration {
	d := duration{Count: len(s)}
	if len(s) == 0 {
		return d
	}
	slices.Sort(s)
	sum := 0.0
	for _, x := range s {
		sum += x
	}
	at := func(p float64) float64 { return round(s[min(len(s)-1, int(p*float64(len(s))))]) }
	d.Mean, d.P50, d.P90 = round(sum/float64(len(s))), at(0.5), at(0.9)
	return d
}
