package rating

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Sizes above which a file is refused unread.
const (
	MaxCardBytes  = 1 << 20
	MaxUsageBytes = 16 << 20
)

// ParseCard reads a card from YAML or JSON and validates it. Unknown fields, fields given twice,
// numbers that are not exact and every fault that Validate finds are refused, with their paths.
func ParseCard(data []byte) (*Card, error) {
	card, err := decodeCard(data)
	if err != nil {
		return nil, err
	}
	if err := card.Validate(); err != nil {
		return nil, err
	}
	return card, nil
}

// UnmarshalJSON reads a card with the strictness of ParseCard, but does not validate it.
func (c *Card) UnmarshalJSON(data []byte) error {
	card, err := decodeCard(data)
	if err == nil {
		*c = *card
	}
	return err
}

// UnmarshalYAML is UnmarshalJSON for a card inside a YAML document.
func (c *Card) UnmarshalYAML(y *yaml.Node) error {
	n, err := fromYAML(y, 0)
	if err != nil {
		return errUnreadable(err)
	}
	card, err := cardOf(n)
	if err == nil {
		*c = *card
	}
	return err
}

func decodeCard(data []byte) (*Card, error) {
	if len(data) > MaxCardBytes {
		return nil, problem.New(problem.TooLarge, "rating.card_too_large", "the rate card is larger than %d bytes", MaxCardBytes)
	}
	n, err := parseTree(data)
	if err != nil {
		return nil, errUnreadable(err)
	}
	return cardOf(n)
}

func errUnreadable(err error) error {
	return problem.New(problem.Invalid, "rating.card_unreadable", "the rate card is not valid YAML or JSON: %s", clipTo(400, err.Error()))
}

func cardOf(n node) (*Card, error) {
	var k checker
	var card Card
	k.object("", n, fields{
		"currency":   k.text(&card.Currency),
		"lines":      list(&k, &card.Lines, k.decodeLine),
		"commitment": k.commit(&card.Commitment),
		"minimum":    k.number(&card.Minimum),
		"maximum":    k.number(&card.Maximum),
	})
	return &card, k.err()
}

// A reader reads one field's value into where it was made for.
type reader func(path string, n node)

// fields are the fields that an object may have.
type fields map[string]reader

// object reads a map: each key at most once, and no key that is not in f.
func (k *checker) object(path string, n node, f fields) {
	if !k.want(path, n, mapNode) {
		return
	}
	seen := make(map[string]bool, len(f))
	for i, key := range n.keys {
		at := clipTo(40, key)
		if path != "" {
			at = path + "." + at
		}
		switch read := f[key]; {
		case read == nil:
			k.addf(at, "is not a field here: %s", knownFields(f))
			continue
		case seen[key]:
			k.addf(at, "is given twice")
		case n.list[i].kind == nullNode:
			k.addf(at, "has no value")
		default:
			read(at, n.list[i])
		}
		seen[key] = true
	}
}

func knownFields(f fields) string {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprintf("%q", names)
}

func (k *checker) want(path string, n node, kind nodeKind) bool {
	if n.kind != kind {
		k.addf(path, "must be %s, not %s", kind, n.kind)
	}
	return n.kind == kind
}

// list reads a list of objects.
func list[T any](k *checker, to *[]T, read func(*T) reader) reader {
	return func(path string, n node) {
		if !k.want(path, n, listNode) {
			return
		}
		*to = make([]T, len(n.list))
		for i := range n.list {
			read(&(*to)[i])(fmt.Sprintf("%s[%d]", path, i), n.list[i])
		}
	}
}

func (k *checker) text(to *string) reader {
	return func(path string, n node) {
		if k.want(path, n, textNode) {
			*to = n.text
		}
	}
}

func (k *checker) flag(to *bool) reader {
	return func(path string, n node) {
		if k.want(path, n, boolNode) {
			*to = n.text[0] == 't' || n.text[0] == 'T'
		}
	}
}

// number reads a decimal: a text, or an integer.
func (k *checker) number(to *Number) reader {
	return func(path string, n node) {
		if n.kind == numberNode && !integerLiteral(n.text) {
			k.addf(path, "write it in quotes, so that it stays exact: %q", n.text)
			return
		}
		if n.kind == numberNode || k.want(path, n, textNode) {
			if *to = Number(n.text); n.text == "" {
				k.addf(path, "is empty")
			}
		}
	}
}

func (k *checker) integer(to *int64) reader {
	return func(path string, n node) {
		if !k.want(path, n, numberNode) {
			return
		}
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil || v == 0 || !integerLiteral(n.text) {
			k.addf(path, "%s is not a whole number above zero", clipTo(40, n.text))
			return
		}
		*to = v
	}
}

// names reads a text or a list of texts.
func (k *checker) names(to *OneOf) reader {
	return func(path string, n node) {
		if n.kind == textNode {
			*to = OneOf{n.text}
			return
		}
		if !k.want(path, n, listNode) {
			return
		}
		if len(n.list) == 0 {
			k.addf(path, "is empty")
		}
		for i, v := range n.list {
			if k.want(fmt.Sprintf("%s[%d]", path, i), v, textNode) {
				*to = append(*to, v.text)
			}
		}
	}
}

func (k *checker) decodeLine(l *Line) reader {
	return func(path string, n node) {
		k.object(path, n, fields{
			"name":       k.text(&l.Name),
			"meter":      k.text(&l.Meter),
			"when":       k.decodeWhen(&l.When),
			"pricing":    k.text((*string)(&l.Pricing)),
			"price":      k.number(&l.Price),
			"per":        k.integer(&l.Per),
			"percent":    k.number(&l.Percent),
			"free":       k.flag(&l.Free),
			"tiers":      list(k, &l.Tiers, k.decodeTier),
			"allowance":  k.number(&l.Allowance),
			"in_advance": k.flag(&l.InAdvance),
			"discount":   k.decodeDiscount(&l.Discount),
			"commitment": k.commit(&l.Commitment),
			"minimum":    k.number(&l.Minimum),
			"maximum":    k.number(&l.Maximum),
		})
	}
}

func (k *checker) decodeTier(t *Tier) reader {
	return func(path string, n node) {
		k.object(path, n, fields{"up_to": k.number(&t.UpTo), "price": k.number(&t.Price), "flat": k.number(&t.Flat)})
	}
}

func (k *checker) decodeWhen(to **When) reader {
	return func(path string, n node) {
		w := new(When)
		*to = w
		k.object(path, n, fields{
			"model":      k.names(&w.Model),
			"class":      k.names(&w.Class),
			"resolution": k.names(&w.Resolution),
			"region":     k.names(&w.Region),
			"hours":      k.text(&w.Hours),
			"days":       k.names(&w.Days),
			"zone":       k.text(&w.Zone),
		})
	}
}

func (k *checker) decodeDiscount(to **Discount) reader {
	return func(path string, n node) {
		d := new(Discount)
		*to = d
		k.object(path, n, fields{
			"usage":         k.number(&d.Usage),
			"usage_percent": k.number(&d.UsagePercent),
			"amount":        k.number(&d.Amount),
			"percent":       k.number(&d.Percent),
		})
	}
}

func (k *checker) commit(to **Commitment) reader {
	return func(path string, n node) {
		c := new(Commitment)
		*to = c
		k.object(path, n, fields{
			"amount":          k.number(&c.Amount),
			"overage_percent": k.number(&c.OveragePercent),
			"no_true_up":      k.flag(&c.NoTrueUp),
		})
	}
}

func (k *checker) time(to *time.Time) reader {
	return func(path string, n node) {
		if !k.want(path, n, textNode) {
			return
		}
		t, err := time.Parse(time.RFC3339, n.text)
		if err != nil {
			k.addf(path, "%q is not a time like \"2026-01-31T09:30:00Z\"", clipTo(40, n.text))
		}
		*to = t
	}
}
