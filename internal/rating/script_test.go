package rating

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/money"
)

// A rating script is a card, and what a billing period on it must cost, statement by statement:
//
//	use 1000 messages region=eu at 2026-03-01T09:00:00Z costs 0.5
//	call input=1000 output=200 model=small              costs 0.00027
//	use 3 unheard_of                                    fails no price
//	bound input=1000 output=500                         is 0.00045
//	opens LINE KIND AMOUNT       one for each amount due when the period opens
//	closes LINE KIND AMOUNT      one for each amount due when it closes, or: closes nothing
//	total AMOUNT                 opening, usage and closing together
//
// In a file the card comes first, indented below the word card; a second card begins a new period.
// "#" begins a comment.
type script struct {
	t      *testing.T
	at     string // where the statement is
	c      *Compiled
	state  State
	sum    int64
	opens  []string
	closes []string
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.rate")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".rate"), func(t *testing.T) {
			runScriptFile(t, name)
		})
	}
}

func runScriptFile(t *testing.T, name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var s *script
	var card strings.Builder
	inCard := false
	for i, text := range strings.Split(string(data), "\n") {
		at := fmt.Sprintf("%s:%d", name, i+1)
		switch {
		case text == "card":
			s.end()
			card.Reset()
			inCard = true
		case inCard && (text == "" || strings.HasPrefix(text, " ")):
			card.WriteString(text + "\n")
		case strings.HasPrefix(text, "#") || text == "":
		default:
			if inCard {
				s, inCard = newScript(t, at, card.String()), false
			}
			s.at = at
			s.run(text)
		}
	}
	s.end()
}

func newScript(t *testing.T, at, card string) *script {
	t.Helper()
	parsed, err := ParseCard([]byte(card))
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	return &script{t: t, at: at, c: compiled(t, parsed)}
}

func (s *script) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%s: %s", s.at, fmt.Sprintf(format, args...))
}

var statement = regexp.MustCompile(`^(use|call|bound) (.+?) +(costs|is|fails) (.+)$`)

func (s *script) run(text string) {
	text, _, _ = strings.Cut(text, "#")
	text = strings.TrimSpace(text)
	if m := statement.FindStringSubmatch(text); m != nil {
		s.rate(m[1], strings.Fields(m[2]), m[3], m[4])
		return
	}
	switch word, rest, _ := strings.Cut(text, " "); word {
	case "opens":
		s.opens = append(s.opens, rest)
	case "closes":
		s.closes = append(s.closes, rest)
	case "total":
		s.total(rest)
	default:
		s.t.Fatalf("%s: not a statement: %s", s.at, text)
	}
}

func (s *script) rate(verb string, words []string, outcome, want string) {
	s.t.Helper()
	var got int64
	var err error
	switch verb {
	case "use":
		u := Usage{Quantity: s.decimal(words[0]), Meter: words[1]}
		s.details(words[2:], &u.Dims, &u.Time, func(key, value string) {
			if key != "unit" {
				s.t.Fatalf("%s: what is %s?", s.at, key)
			}
			u.Unit = s.decimal(value)
		})
		var ch Charge
		ch, err = Rate(s.c, s.state, u)
		got = s.apply(&ch, err)
	case "call":
		call := s.call(words)
		call.Tokens[Requests] = 1
		var ch Charge
		ch, err = s.c.RateCall(s.state, &call)
		got = s.apply(&ch, err)
	case "bound":
		call := s.call(words)
		call.Tokens[Requests] = 1
		got, err = s.c.TokenBound(&call.Tokens)
	}
	switch {
	case outcome == "fails" && err == nil:
		s.errorf("cost %s, but was to fail: %s", money.FormatNano(got), want)
	case outcome == "fails" && !strings.Contains(err.Error(), want):
		s.errorf("failed with %q, not %q", err, want)
	case outcome != "fails" && err != nil:
		s.errorf("%v", err)
	case outcome != "fails" && got != s.nano(want):
		s.errorf("%s, not %s", money.FormatNano(got), want)
	}
}

func (s *script) apply(ch *Charge, err error) int64 {
	if err == nil {
		s.state.Apply(ch)
		s.sum += ch.Nano
	}
	return ch.Nano
}

func (s *script) call(words []string) (call Call) {
	s.details(words, &call.Dims, &call.Time, func(key, value string) {
		n, err := strconv.ParseInt(value, 10, 64)
		if classIndex(key) < 0 || err != nil {
			s.t.Fatalf("%s: what is %s=%s?", s.at, key, value)
		}
		call.Tokens[classIndex(key)] = n
	})
	return call
}

func (s *script) details(words []string, d *Dims, at *time.Time, other func(key, value string)) {
	for i := 0; i < len(words); i++ {
		key, value, _ := strings.Cut(words[i], "=")
		switch key {
		case "at":
			i++
			var err error
			if *at, err = time.Parse(time.RFC3339, words[i]); err != nil {
				s.t.Fatalf("%s: %v", s.at, err)
			}
		case "model":
			d.Model = value
		case "class":
			d.Class = value
		case "resolution":
			d.Resolution = value
		case "region":
			d.Region = value
		default:
			other(key, value)
		}
	}
}

func (s *script) total(want string) {
	s.t.Helper()
	opening, err1 := s.c.Opening()
	closing, err2 := s.c.Closing(s.state)
	if err1 != nil || err2 != nil {
		s.t.Fatalf("%s: %v, %v", s.at, err1, err2)
	}
	sum := s.sum
	s.adjusted("opens", s.opens, opening, &sum)
	s.adjusted("closes", s.closes, closing, &sum)
	if sum != s.nano(want) {
		s.errorf("the total is %s, not %s", money.FormatNano(sum), want)
	}
	s.opens, s.closes = nil, nil
}

func (s *script) adjusted(verb string, want []string, list []Adjustment, sum *int64) {
	var got []string
	for _, a := range s.c.named(list) {
		got = append(got, fmt.Sprintf("%s %s %s", a.Line, a.Kind, money.FormatNano(int64(a.Charge))))
		*sum += int64(a.Charge)
	}
	if len(got) == 0 && len(want) == 1 && want[0] == "nothing" {
		return
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		s.errorf("%s with %q, not %q", verb, got, want)
	}
}

// end complains about expectations that no total has checked.
func (s *script) end() {
	if s != nil && len(s.opens)+len(s.closes) > 0 {
		s.errorf("opens or closes without a total after it")
	}
}

func (s *script) decimal(text string) money.Decimal {
	d, err := money.ParseDecimal(text)
	if err != nil {
		s.t.Fatalf("%s: %v", s.at, err)
	}
	return d
}

func (s *script) nano(text string) int64 {
	n, err := money.ParseNano(text)
	if err != nil {
		s.t.Fatalf("%s: %v", s.at, err)
	}
	return n
}
