package recommend

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Config is how a space ranks. A field that is left out takes the default of the space's kind.
type Config struct {
	Title          string             `json:"title,omitempty"`
	Kind           string             `json:"kind"` // shop, news, video
	Similarity     string             `json:"similarity"`
	InterestDays   float64            `json:"interest_days"`   // half-life of what a user did
	PopularDays    float64            `json:"popular_days"`    // half-life of popularity
	TrendHours     float64            `json:"trend_hours"`     // half-life of a trend
	FreshnessHours float64            `json:"freshness_hours"` // half-life of an item since it was published; 0: ageless
	SegmentBy      []string           `json:"segment_by"`      // attributes of users whose popularity is kept apart
	Weights        Weights            `json:"weights,omitempty"`
	EventWeights   map[string]float64 `json:"event_weights,omitempty"`
	Exclude        []string           `json:"exclude"` // seen, purchased: default of for-you
	Diversity      float64            `json:"diversity"`
	MaxPerCategory int                `json:"max_per_category"`
	KeepEvents     int64              `json:"keep_events"` // older events are removed
	Rules          []Rule             `json:"rules"`

	kindWeights [kinds]float32
}

// Weights of the rankers in the blend, by name: item_cf, user_cf, factors, content, popular, trending, segment. A ranker
// that is not named has none.
type Weights map[string]float64

// The types of rules.
const (
	rulePin     = "pin"
	ruleBoost   = "boost"
	ruleBury    = "bury"
	ruleExclude = "exclude"
	ruleMax     = "max_per_category"
)

// Rule is a decision of the business that holds in every answer of the space.
type Rule struct {
	Type     string  `json:"type"`
	Match    Match   `json:"match"`
	Position int     `json:"position,omitempty"` // pin: from 1
	Factor   float64 `json:"factor,omitempty"`   // boost
	Max      int     `json:"max,omitempty"`      // max_per_category
}

// Match names items: those that meet everything given.
type Match struct {
	IDs        []string          `json:"ids,omitempty"`
	Tags       []string          `json:"tags,omitempty"` // any of them
	Categories []string          `json:"categories,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`

	ids map[string]bool // IDs, where they are many
}

// Filter narrows one answer.
type Filter struct {
	Match
	AllTags     []string `json:"all_tags,omitempty"`
	ExcludeTags []string `json:"exclude_tags,omitempty"`
	ExcludeIDs  []string `json:"exclude_ids,omitempty"`
	MinPrice    *Price   `json:"min_price,omitempty"`
	MaxPrice    *Price   `json:"max_price,omitempty"`

	not map[string]bool // ExcludeIDs, where they are many
}

// setOf makes a set of a list that is too long to be searched for each item.
func setOf(list []string) map[string]bool {
	if len(list) <= 8 {
		return nil
	}
	m := make(map[string]bool, len(list))
	for _, s := range list {
		m[s] = true
	}
	return m
}

// among says whether s is in the list, whose set is given if it has one.
func among(s string, list []string, set map[string]bool) bool {
	if set != nil {
		return set[s]
	}
	return slices.Contains(list, s)
}

// Price is a figure that items are filtered by, in millionths of its currency's unit. In JSON it is a number or a string.
type Price int64

// UnmarshalJSON reads 19, 19.9 or "19.90".
func (p *Price) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n > 1e12 || len(part) > 6 || strings.HasPrefix(whole, "+") {
		return fieldError{"price", "must be a number from 0 to 1000000000000 with at most six decimals"}
	}
	frac := int64(0)
	if strings.Contains(s, ".") {
		u, err := strconv.ParseUint(part+strings.Repeat("0", 6-len(part)), 10, 32)
		if err != nil || part == "" {
			return fieldError{"price", "must be a number with at most six decimals"}
		}
		frac = int64(u)
	}
	*p = Price(n*1e6 + frac)
	return nil
}

// MarshalJSON writes a number.
func (p Price) MarshalJSON() ([]byte, error) {
	s := strconv.FormatInt(int64(p)/1e6, 10)
	if f := int64(p) % 1e6; f != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%06d", f), "0")
	}
	return []byte(s), nil
}

// fieldError is a fault of a caller in a field, as decoders meet it.
type fieldError struct{ field, why string }

func (e fieldError) Error() string { return e.field + " " + e.why }

// decode is engine.Decode that also explains faults of our own decoders.
func decode(body []byte, v any) error {
	err := engine.Decode(body, v)
	if err == nil {
		return nil
	}
	if problem.As(err).ID == "engine.not_json" && json.Valid(body) {
		return problem.New(problem.Invalid, "recommend.bad_value", "a value in the request cannot be read: numbers and times must be in the form that the contract names").
			Because(err)
	}
	return err
}

// Limits of what a space is told.
const (
	maxID         = 128
	maxWord       = 64     // tag, category, attribute
	MaxTitle      = 300    // of an item, in characters
	MaxText       = 10_000 // the same
	maxTags       = 32
	maxAttributes = 32
	maxRules      = 50
	maxRuleIDs    = 100
)

var defaults = map[string]Config{
	"shop":  {InterestDays: 45, PopularDays: 30, TrendHours: 48},
	"news":  {InterestDays: 10, PopularDays: 2, TrendHours: 6, FreshnessHours: 48},
	"video": {InterestDays: 30, PopularDays: 14, TrendHours: 24},
}

// parseConfig reads and completes a configuration.
func parseConfig(body []byte) (*Config, error) {
	var c Config
	if err := decode(body, &c); err != nil {
		return nil, err
	}
	if c.Kind == "" {
		c.Kind = "shop"
	}
	d, ok := defaults[c.Kind]
	if !ok {
		return nil, engine.Invalid("kind", "must be shop, news or video")
	}
	set := func(v *float64, to float64) {
		if *v == 0 {
			*v = to
		}
	}
	set(&c.InterestDays, d.InterestDays)
	set(&c.PopularDays, d.PopularDays)
	set(&c.TrendHours, d.TrendHours)
	set(&c.FreshnessHours, d.FreshnessHours)
	if c.Similarity == "" {
		c.Similarity = "cosine"
	}
	if c.Exclude == nil {
		c.Exclude = []string{"seen"}
	}
	if c.KeepEvents == 0 {
		c.KeepEvents = 2_000_000
	}
	if c.SegmentBy == nil {
		c.SegmentBy = []string{}
	}
	if c.Rules == nil {
		c.Rules = []Rule{}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.complete()
	return &c, nil
}

// number says that v is finite and within bounds.
func number(v, least, most float64) bool { return v >= least && v <= most }

func (c *Config) check() error {
	switch {
	case utf8.RuneCountInString(c.Title) > MaxTitle:
		return engine.Invalid("title", "at most 300 characters")
	case c.Similarity != "cosine" && c.Similarity != "llr":
		return engine.Invalid("similarity", "must be cosine or llr")
	case !number(c.InterestDays, 0.1, 3650):
		return engine.Invalid("interest_days", "must be from 0.1 to 3650")
	case !number(c.PopularDays, 0.1, 3650):
		return engine.Invalid("popular_days", "must be from 0.1 to 3650")
	case !number(c.TrendHours, 1, 24*365):
		return engine.Invalid("trend_hours", "must be from 1 to 8760")
	case !number(c.FreshnessHours, 0, 1e6):
		return engine.Invalid("freshness_hours", "must be from 0 to 1000000")
	case len(c.SegmentBy) > 3 || slices.ContainsFunc(c.SegmentBy, func(s string) bool { return !wordOK(s) }):
		return engine.Invalid("segment_by", "at most three names of attributes")
	case !number(c.Diversity, 0, 1):
		return engine.Invalid("diversity", "must be from 0 to 1")
	case c.MaxPerCategory < 0 || c.MaxPerCategory > 100:
		return engine.Invalid("max_per_category", "must be from 0 (any number) to 100")
	case c.KeepEvents < 1000 || c.KeepEvents > 5_000_000:
		return engine.Invalid("keep_events", "must be from 1000 to 5000000")
	case len(c.Rules) > maxRules:
		return engine.Invalid("rules", "at most 50")
	}
	if _, err := c.Weights.parse("weights"); err != nil {
		return err
	}
	if _, err := skipOf(c.Exclude); err != nil {
		return err
	}
	for name, w := range c.EventWeights {
		if kindOf(name) == 0 || kindOf(name) == dislike || !number(w, 0, 100) {
			return engine.Invalid("event_weights", "names view, click, cart, purchase, like or rating, each with a number from 0 to 100")
		}
	}
	for i := range c.Rules {
		if err := c.Rules[i].check(fmt.Sprintf("rules[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rule) check(at string) error {
	empty := len(r.Match.IDs)+len(r.Match.Tags)+len(r.Match.Categories)+len(r.Match.Attributes) == 0
	switch r.Type {
	case rulePin:
		if len(r.Match.IDs) == 0 || r.Position < 1 || r.Position > maxLimit {
			return engine.Invalid(at, "a pin needs match.ids and a position from 1 to 100")
		}
	case ruleBoost:
		if empty || !number(r.Factor, 0.01, 100) {
			return engine.Invalid(at, "a boost needs a match and a factor from 0.01 to 100")
		}
	case ruleBury, ruleExclude:
		if empty {
			return engine.Invalid(at, "needs a match that names ids, tags, categories or attributes")
		}
	case ruleMax:
		if r.Max < 1 || r.Max > maxLimit || len(r.Match.IDs)+len(r.Match.Tags)+len(r.Match.Attributes) > 0 {
			return engine.Invalid(at, "needs max from 1 to 100, and may match categories alone")
		}
	default:
		return engine.Invalid(at+".type", "must be pin, boost, bury, exclude or max_per_category")
	}
	return r.Match.check(at + ".match")
}

func (f *Match) check(at string) error {
	if len(f.IDs) > maxRuleIDs || len(f.Tags) > maxTags || len(f.Categories) > maxTags || len(f.Attributes) > maxAttributes {
		return engine.Invalid(at, "at most 100 ids and 32 tags, categories or attributes")
	}
	return nil
}

// complete computes what follows from the fields.
func (c *Config) complete() {
	c.kindWeights = [kinds]float32{view: 1, click: 2, cart: 4, purchase: 6, like: 4, rating: 2}
	for name, w := range c.EventWeights {
		c.kindWeights[kindOf(name)] = float32(w)
	}
	for i := range c.Rules {
		c.Rules[i].Match.ids = setOf(c.Rules[i].Match.IDs)
	}
}

// weightOf is how much an event says for an item. A rating counts by how far it is above 2 of 5.
func (c *Config) weightOf(k kind, value int32) float32 {
	if k == rating {
		return c.kindWeights[rating] * max(0, float32(value)/1000-2)
	}
	return c.kindWeights[k]
}

// parse checks the names and sizes. nil: none were given.
func (w Weights) parse(at string) (*weights, error) {
	if len(w) == 0 {
		return nil, nil
	}
	var out weights
	sum := 0.0
	for name, v := range w {
		r := slices.Index(rankerNames[:], name)
		if r < 0 || !number(v, 0, 100) {
			return nil, engine.Invalid(at, "names item_cf, user_cf, factors, content, popular, trending or segment, each with a number from 0 to 100")
		}
		out[r] = float32(v)
		sum += v
	}
	if sum < 1e-6 {
		return nil, engine.Invalid(at, "at least one must be above zero")
	}
	return &out, nil
}

// skipOf are the flags of pairs that exclude names.
func skipOf(exclude []string) (flags uint8, err error) {
	for _, x := range exclude {
		switch x {
		case "seen":
			flags |= 255
		case "purchased":
			flags |= purchase.bit()
		case "nothing":
		default:
			return 0, engine.Invalid("exclude", "may name seen, purchased or nothing")
		}
	}
	return flags, nil
}

// idOK says that an id of the caller's can be kept: 1 to 128 bytes of visible text.
func idOK(s string) bool {
	return len(s) > 0 && len(s) <= maxID && utf8.ValidString(s) && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// wordOK says the same of a tag, category or the name of an attribute.
func wordOK(s string) bool { return idOK(s) && utf8.RuneCountInString(s) <= maxWord }

// rounded is a score as it is told: six significant digits, for it was computed in 32 bits.
func rounded(x float64) float64 {
	x = finite(x)
	if x == 0 {
		return 0
	}
	unit := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(x))))
	if math.IsInf(unit, 0) {
		return 0
	}
	return math.Round(x*unit) / unit
}

// finite replaces what JSON cannot hold.
func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}
