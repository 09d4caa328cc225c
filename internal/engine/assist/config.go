package assist

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of settings.
const (
	maxName      = 80
	maxIntents   = 200
	maxExamples  = 20000 // of all intents of a bot
	maxSlots     = 20
	maxList      = 50
	maxTextRunes = 4000
	maxDays      = 365
	defaultDays  = 30
	// defaultThreshold is the least confidence of an answer that is given; see reports/assist.json for what it keeps out.
	defaultThreshold = 0.4
	defaultIntent    = 0.45
	defaultTries     = 2
)

// Texts is a text in several languages: {"en": "Hello", "zh": "您好"}. A JSON string is a text for all of them.
type Texts map[string]string

// UnmarshalJSON takes a string or an object.
func (t *Texts) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = Texts{}
		if s != "" {
			(*t)[""] = s
		}
		return nil
	}
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return &json.UnmarshalTypeError{Value: "value other than a text or an object of texts by language", Field: "text"}
	}
	*t = m
	return nil
}

// MarshalJSON is the reverse of UnmarshalJSON.
func (t Texts) MarshalJSON() ([]byte, error) {
	if s, ok := t[""]; ok && len(t) == 1 {
		return json.Marshal(s)
	}
	return json.Marshal(map[string]string(t))
}

// pick is the text for a language, and the language it is in ("" where it did not say).
func (t Texts) pick(lang string) (text, in string) {
	for _, l := range []string{lang, "", "en"} {
		if s, ok := t[l]; ok {
			return s, l
		}
	}
	keys := make([]string, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return "", lang
	}
	slices.Sort(keys)
	return t[keys[0]], keys[0]
}

// Bot is what answers in an organisation's name.
type Bot struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Greeting  Texts     `json:"greeting,omitempty"`
	Languages []string  `json:"languages"` // the first is spoken where the visitor's is not known
	Threshold float64   `json:"threshold"` // least confidence of an answer, 0 to 1
	Generate  *Generate `json:"generate,omitempty"`
	Knowledge []string  `json:"knowledge"` // ids of knowledge bases
	Queues    []string  `json:"queues"`    // ids of queues; the first gets what fits none
	Intents   []Intent  `json:"intents"`
	Handover  Handover  `json:"handover"`
	Days      int       `json:"retention_days"` // transcripts are erased after so many days without a message
	Voice     string    `json:"voice,omitempty"`
	Created   time.Time `json:"created_at"`
	Updated   time.Time `json:"updated_at"`
	Version   int64     `json:"version"`
	owner     string
}

// Generate makes answers from found passages by a language model of this platform.
type Generate struct {
	Model        string `json:"model"` // as in /v1/chat/completions, billed to the caller
	Instructions string `json:"instructions,omitempty"`
	MaxTokens    int    `json:"max_tokens,omitempty"`
}

// Handover says when a person takes over.
type Handover struct {
	Off     bool     `json:"off,omitempty"` // never
	After   int      `json:"after"`         // so many questions in a row without an answer
	Phrases []string `json:"phrases"`       // more ways to ask for a person
}

// Intent is something that visitors want.
type Intent struct {
	Name      string   `json:"name"`
	Examples  []string `json:"examples"`
	Slots     []Slot   `json:"slots,omitempty"`
	Answer    Texts    `json:"answer,omitempty"`   // "{slot}" stands for a slot's value
	Action    string   `json:"action"`             // answer, knowledge or handover
	Queue     string   `json:"queue,omitempty"`    // of a hand-over
	Priority  int      `json:"priority,omitempty"` // of a hand-over: 0 to 9, larger is sooner
	Threshold float64  `json:"threshold,omitempty"`
}

// Slot is a detail that an intent needs.
type Slot struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"` // date, number, order_id, enum, email, phone, text
	Pattern  string   `json:"pattern,omitempty"`
	Values   []Choice `json:"values,omitempty"`
	Prompt   Texts    `json:"prompt,omitempty"`
	Optional bool     `json:"optional,omitempty"`
	re       *regexp.Regexp
}

// Choice is a value of an enum with other words for it.
type Choice struct {
	Value    string   `json:"value"`
	Synonyms []string `json:"synonyms,omitempty"`
}

// UnmarshalJSON takes a string for a choice without synonyms.
func (c *Choice) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &c.Value) == nil {
		return nil
	}
	type plain Choice
	return json.Unmarshal(b, (*plain)(c))
}

// Queue is a line of sessions that wait for a person.
type Queue struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Languages []string  `json:"languages"` // none: any
	Skills    []string  `json:"skills"`    // an agent must have all of them
	Examples  []string  `json:"examples"`  // of what visitors say whose sessions belong here
	Priority  int       `json:"priority"`  // 0 to 9, larger is sooner
	Created   time.Time `json:"created_at"`
}

// Agent is a person who answers.
type Agent struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`   // online, away, offline
	Capacity  int       `json:"capacity"` // sessions at once
	Automatic bool      `json:"automatic"`
	Languages []string  `json:"languages"` // none: any
	Skills    []string  `json:"skills"`
	Load      int       `json:"load"` // sessions now
	Created   time.Time `json:"created_at"`
	assigned  int64
}

func badName(field, s string, most int) error {
	switch {
	case strings.TrimSpace(s) == "":
		return engine.Invalid(field, "must not be empty")
	case utf8.RuneCountInString(s) > most || strings.ContainsAny(s, "\n\r\x00"):
		return engine.Invalid(field, fmt.Sprintf("must be one line of at most %d characters", most))
	}
	return nil
}

func badTexts(field string, t Texts) error {
	if len(t) > maxList {
		return engine.Invalid(field, "is in too many languages")
	}
	for _, s := range t {
		if err := badText(field, s); err != nil {
			return err
		}
	}
	return nil
}

func badText(field, s string) error {
	if longer(s, maxTextRunes) {
		return engine.Invalid(field, fmt.Sprintf("must have at most %d characters", maxTextRunes))
	}
	if strings.ContainsRune(s, 0) {
		return engine.Invalid(field, "must not contain the character NUL")
	}
	return nil
}

func badList(field string, list []string, most int) error {
	if len(list) > most {
		return engine.Invalid(field, fmt.Sprintf("must have at most %d entries", most))
	}
	for _, s := range list {
		if err := badName(field, s, 200); err != nil {
			return err
		}
	}
	return nil
}

var langTag = regexp.MustCompile(`^[a-z]{2,3}$`)

func cleanLanguages(field string, list []string) ([]string, error) {
	out := []string{}
	for _, l := range list {
		l = primary(l)
		if !langTag.MatchString(l) {
			return nil, engine.Invalid(field, "must be language codes like en or zh")
		}
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	if len(out) > maxList {
		return nil, engine.Invalid(field, "has too many languages")
	}
	return out, nil
}

// check validates a bot and fills in what was left out.
func (b *Bot) check() error {
	var err error
	if err = badName("name", b.Name, maxName); err != nil {
		return err
	}
	if strings.HasPrefix(b.Name, "bot_") || strings.Contains(b.Name, "/") {
		return engine.Invalid("name", "must not look like an id or a path: the bot can be called by it")
	}
	if b.Languages, err = cleanLanguages("languages", b.Languages); err != nil {
		return err
	}
	if len(b.Languages) == 0 {
		b.Languages = []string{"en"}
	}
	if b.Threshold == 0 {
		b.Threshold = defaultThreshold
	}
	if !(b.Threshold > 0 && b.Threshold <= 1) {
		return engine.Invalid("threshold", "must be between 0 and 1")
	}
	if b.Days == 0 {
		b.Days = defaultDays
	}
	if b.Days < 1 || b.Days > maxDays {
		return engine.Invalid("retention_days", fmt.Sprintf("must be from 1 to %d", maxDays))
	}
	if b.Handover.After == 0 {
		b.Handover.After = defaultTries
	}
	if b.Handover.After < 1 || b.Handover.After > 10 {
		return engine.Invalid("handover.after", "must be from 1 to 10")
	}
	if g := b.Generate; g != nil {
		if err := badName("generate.model", g.Model, 200); err != nil {
			return err
		}
		if g.MaxTokens < 0 || g.MaxTokens > 4000 {
			return engine.Invalid("generate.max_tokens", "must be from 0 to 4000")
		}
		if err := badText("generate.instructions", g.Instructions); err != nil {
			return err
		}
	}
	b.Knowledge, b.Queues = orEmpty(b.Knowledge), orEmpty(b.Queues)
	b.Handover.Phrases = orEmpty(b.Handover.Phrases)
	for field, list := range map[string][]string{"knowledge": b.Knowledge, "queues": b.Queues, "handover.phrases": b.Handover.Phrases} {
		if err := badList(field, list, maxList); err != nil {
			return err
		}
	}
	if err := badTexts("greeting", b.Greeting); err != nil {
		return err
	}
	if utf8.RuneCountInString(b.Voice) > 100 {
		return engine.Invalid("voice", "is too long")
	}
	return b.checkIntents()
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (b *Bot) checkIntents() error {
	if b.Intents == nil {
		b.Intents = []Intent{}
	}
	if len(b.Intents) > maxIntents {
		return engine.Invalid("intents", fmt.Sprintf("must be at most %d", maxIntents))
	}
	seen, examples := map[string]bool{}, 0
	for i := range b.Intents {
		in := &b.Intents[i]
		at := fmt.Sprintf("intents[%d]", i)
		if err := badName(at+".name", in.Name, maxName); err != nil {
			return err
		}
		if seen[in.Name] {
			return engine.Invalid(at+".name", "is there twice")
		}
		seen[in.Name] = true
		if examples += len(in.Examples); examples > maxExamples {
			return problem.New(problem.TooLarge, "assist.too_many_examples", "the intents of a bot may have %d examples in all", maxExamples)
		}
		if len(in.Examples) == 0 {
			return engine.Invalid(at+".examples", "needs at least one example")
		}
		for _, e := range in.Examples {
			if strings.TrimSpace(e) == "" || longer(e, 500) {
				return engine.Invalid(at+".examples", "must have between 1 and 500 characters each")
			}
		}
		if err := in.check(at); err != nil {
			return err
		}
		if in.Queue != "" && !slices.Contains(b.Queues, in.Queue) {
			return engine.Invalid(at+".queue", "must be one of the bot's queues")
		}
	}
	return nil
}

func (in *Intent) check(at string) error {
	switch in.Action {
	case "":
		in.Action = "answer"
		if len(in.Answer) == 0 {
			in.Action = "knowledge"
		}
	case "answer", "knowledge", "handover":
	default:
		return engine.Invalid(at+".action", "must be answer, knowledge or handover")
	}
	if in.Action == "answer" && len(in.Answer) == 0 {
		return engine.Invalid(at+".answer", "is missing")
	}
	if in.Priority < 0 || in.Priority > 9 {
		return engine.Invalid(at+".priority", "must be from 0 to 9")
	}
	if !(in.Threshold >= 0 && in.Threshold <= 1) {
		return engine.Invalid(at+".threshold", "must be between 0 and 1")
	}
	if err := badTexts(at+".answer", in.Answer); err != nil {
		return err
	}
	if len(in.Slots) > maxSlots {
		return engine.Invalid(at+".slots", fmt.Sprintf("must be at most %d", maxSlots))
	}
	seen := map[string]bool{}
	for i := range in.Slots {
		s := &in.Slots[i]
		if err := s.check(fmt.Sprintf("%s.slots[%d]", at, i)); err != nil {
			return err
		}
		if seen[s.Name] {
			return engine.Invalid(at+".slots", "have a name twice")
		}
		seen[s.Name] = true
	}
	return nil
}

var slotName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,39}$`)

func (s *Slot) check(at string) error {
	if !slotName.MatchString(s.Name) {
		return engine.Invalid(at+".name", "must be letters, digits and underscores")
	}
	if err := badTexts(at+".prompt", s.Prompt); err != nil {
		return err
	}
	if len(s.Pattern) > 200 {
		return engine.Invalid(at+".pattern", "must have at most 200 characters")
	}
	switch s.Type {
	case "date", "number", "order_id", "email", "phone", "text":
	case "enum":
		if len(s.Values) == 0 || len(s.Values) > 200 {
			return engine.Invalid(at+".values", "must have from 1 to 200 entries")
		}
		for _, v := range s.Values {
			if err := badList(at+".values", append([]string{v.Value}, v.Synonyms...), maxList); err != nil {
				return err
			}
		}
	default:
		return engine.Invalid(at+".type", "must be date, number, order_id, enum, email, phone or text")
	}
	if err := s.compile(); err != nil {
		return engine.Invalid(at+".pattern", "is not a regular expression (RE2 syntax)")
	}
	return nil
}

func (s *Slot) compile() (err error) {
	if s.Pattern != "" {
		s.re, err = regexp.Compile(s.Pattern)
	}
	return err
}

func (q *Queue) check() (err error) {
	if err = badName("name", q.Name, maxName); err != nil {
		return err
	}
	if q.Languages, err = cleanLanguages("languages", q.Languages); err != nil {
		return err
	}
	if q.Priority < 0 || q.Priority > 9 {
		return engine.Invalid("priority", "must be from 0 to 9")
	}
	q.Skills, q.Examples = orEmpty(q.Skills), orEmpty(q.Examples)
	if err = badList("skills", q.Skills, maxList); err != nil {
		return err
	}
	return badList("examples", q.Examples, 500)
}

func (a *Agent) check() (err error) {
	if err = badName("name", a.Name, maxName); err != nil {
		return err
	}
	if a.Languages, err = cleanLanguages("languages", a.Languages); err != nil {
		return err
	}
	if a.Status == "" {
		a.Status = "offline"
	}
	if !slices.Contains([]string{"online", "away", "offline"}, a.Status) {
		return engine.Invalid("status", "must be online, away or offline")
	}
	if a.Capacity < 0 || a.Capacity > 100 {
		return engine.Invalid("capacity", "must be from 0 to 100")
	}
	a.Skills = orEmpty(a.Skills)
	return badList("skills", a.Skills, maxList)
}
