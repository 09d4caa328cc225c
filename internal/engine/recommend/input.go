package recommend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Item is a thing that can be recommended, as a caller gives it and gets it.
type Item struct {
	ID         string            `json:"id"`
	Title      string            `json:"title,omitempty"`
	Text       string            `json:"text,omitempty"` // read for its content, not returned in answers
	Category   string            `json:"category,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
	Price      *Price            `json:"price,omitempty"`
	Currency   string            `json:"currency,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Available  *bool             `json:"available,omitempty"` // nil: yes
	Published  *time.Time        `json:"published_at,omitempty"`

	// In answers only.
	Score  float64 `json:"score,omitempty"`
	Pinned bool    `json:"pinned,omitempty"`
	Reason *Reason `json:"reason,omitempty"`
}

// Reason says why an item is in an answer.
type Reason struct {
	Code string `json:"code"`           // viewed, bought, similar_users, taste, content, popular, trending, segment, pinned
	Item string `json:"item,omitempty"` // of the history, where one item is the reason
	Text string `json:"text"`           // for people, in the language of the call
}

// User is someone that recommendations are for.
type User struct {
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Event is something a user did.
type Event struct {
	ID      string     `json:"id,omitempty"` // an event of an id counts once
	User    string     `json:"user"`
	Item    string     `json:"item"`
	Type    string     `json:"type"`            // view, click, cart, purchase, like, dislike, rating
	Value   float64    `json:"value,omitempty"` // of a rating: 1 to 5
	Time    *time.Time `json:"time,omitempty"`  // nil: now
	Request string     `json:"request_id,omitempty"`
}

// Bounds of a batch.
const (
	maxItems  = 1000
	maxUsers  = 1000
	maxEvents = 5000
	maxNames  = 1000 // ids to delete
	maxFaults = 20   // told at once
)

// faults collects what is wrong with a batch, which is refused as a whole.
type faults struct {
	list []problem.Field
	more int
}

func (f *faults) add(path, why string) {
	if len(f.list) >= maxFaults {
		f.more++
		return
	}
	f.list = append(f.list, problem.Field{Path: path, Detail: why})
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	e := problem.New(problem.Unprocessable, "recommend.bad_batch", "%d entries of the batch are not valid, and nothing was written; the first: %s %s",
		len(f.list)+f.more, f.list[0].Path, f.list[0].Detail)
	e.Fields = f.list
	return e
}

// size refuses a batch that is empty or too long.
func size(field string, n, most int) error {
	if n == 0 || n > most {
		return problem.New(problem.Unprocessable, "recommend.batch_size", "%q must have from 1 to %d entries", field, most).
			WithField(field, "from 1 to %d entries", most)
	}
	return nil
}

func checkItems(list []Item) error {
	if err := size("items", len(list), maxItems); err != nil {
		return err
	}
	var f faults
	seen := map[string]bool{}
	for i := range list {
		it, at := &list[i], fmt.Sprintf("items[%d]", i)
		if seen[it.ID] {
			f.add(at+".id", "is in the batch twice")
		}
		seen[it.ID] = true
		it.check(at, &f)
	}
	return f.err()
}

func (it *Item) check(at string, f *faults) {
	switch {
	case !idOK(it.ID):
		f.add(at+".id", badID)
	case strings.TrimSpace(it.Title) == "" || utf8.RuneCountInString(it.Title) > MaxTitle || strings.ContainsRune(it.Title, 0):
		f.add(at+".title", "is required, at most 300 characters")
	case utf8.RuneCountInString(it.Text) > MaxText || strings.ContainsRune(it.Text, 0):
		f.add(at+".text", "at most 10000 characters")
	case it.Category != "" && !wordOK(it.Category):
		f.add(at+".category", badWord)
	case len(it.Tags) > maxTags || slices.ContainsFunc(it.Tags, func(t string) bool { return !wordOK(t) }):
		f.add(at+".tags", "at most 32, each from 1 to 64 characters")
	case it.Currency != "" && len(it.Currency) != 3:
		f.add(at+".currency", "must be an ISO 4217 code")
	case !attributesOK(it.Attributes):
		f.add(at+".attributes", badAttributes)
	case it.Published != nil && !timeOK(*it.Published):
		f.add(at+".published_at", "must be between 1970 and 2100")
	}
}

const (
	badID         = "must be 1 to 128 bytes without control characters or blanks at the ends"
	badWord       = "must be 1 to 64 characters"
	badAttributes = "at most 32, names of 1 to 64 characters, values of at most 128 bytes"
)

func attributesOK(m map[string]string) bool {
	if len(m) > maxAttributes {
		return false
	}
	for k, v := range m {
		if !wordOK(k) || v != "" && !idOK(v) {
			return false
		}
	}
	return true
}

func timeOK(t time.Time) bool { return t.Unix() >= 0 && t.Year() <= 2100 }

func checkUsers(list []User) error {
	if err := size("users", len(list), maxUsers); err != nil {
		return err
	}
	var f faults
	seen := map[string]bool{}
	for i, u := range list {
		at := fmt.Sprintf("users[%d]", i)
		switch {
		case !idOK(u.ID):
			f.add(at+".id", badID)
		case seen[u.ID]:
			f.add(at+".id", "is in the batch twice")
		case !attributesOK(u.Attributes):
			f.add(at+".attributes", badAttributes)
		}
		seen[u.ID] = true
	}
	return f.err()
}

func checkEvents(list []Event, now time.Time) error {
	if err := size("events", len(list), maxEvents); err != nil {
		return err
	}
	var f faults
	for i := range list {
		list[i].check(fmt.Sprintf("events[%d]", i), now, &f)
	}
	return f.err()
}

func (e *Event) check(at string, now time.Time, f *faults) {
	k := kindOf(e.Type)
	switch {
	case !idOK(e.User):
		f.add(at+".user", badID)
	case !idOK(e.Item):
		f.add(at+".item", badID)
	case k == 0:
		f.add(at+".type", "must be view, click, cart, purchase, like, dislike or rating")
	case k == rating && !number(e.Value, 1, 5):
		f.add(at+".value", "a rating needs a value from 1 to 5")
	case e.ID != "" && !idOK(e.ID):
		f.add(at+".id", badID)
	case e.Request != "" && !idOK(e.Request):
		f.add(at+".request_id", badID)
	case e.Time != nil && (e.Time.Unix() < 0 || e.Time.After(now.Add(5*time.Minute))):
		f.add(at+".time", "must be after 1970 and not in the future")
	}
}

func checkNames(field string, list []string) error {
	if err := size(field, len(list), maxNames); err != nil {
		return err
	}
	var f faults
	for i, id := range list {
		if !idOK(id) {
			f.add(fmt.Sprintf("%s[%d]", field, i), badID)
		}
	}
	return f.err()
}

// sortedAttrs are attributes by name.
func sortedAttrs(m map[string]string) []attr {
	out := make([]attr, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, attr{k, m[k]})
	}
	return out
}

// text is a value as a column holds it.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers encode
	}
	return string(b)
}
