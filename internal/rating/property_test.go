package rating

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/money"
)

var allMeters = []string{MeterTokens, MeterTokens, MeterTokens, MeterRequests, "sales", "compute", "storage", "unknown"}

// TestAgainstOracle rates periods event by event and compares every charge, the line that made it,
// and the bill of the whole period. With extreme sizes both must refuse, or agree.
func TestAgainstOracle(t *testing.T) {
	for name, size := range map[string]sizes{"usual": usual, "extreme": extreme} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				card := cards(size).Draw(t, "card")
				c, o := must(Compile(card)), newOracle(card)
				var state State
				charged := new(big.Int)
				for range rapid.IntRange(1, 12).Draw(t, "events") {
					u := usages(size, allMeters...).Draw(t, "usage")
					want, line, refused := o.use(&u)
					got, err := Rate(c, state, u)
					if err != nil {
						if refused == nil && !tooLarge(o, want) {
							t.Fatalf("refused: %v, want %s", err, want)
						}
						return
					}
					if refused != nil {
						t.Fatalf("charged %v, want: %v", got, refused)
					}
					if big.NewInt(got.Nano).Cmp(want) != 0 || got.Lines[0].Line != line {
						t.Fatalf("charged %d on line %d, want %s on line %d", got.Nano, got.Lines[0].Line, want, line)
					}
					state.Apply(&got)
					charged.Add(charged, want)
				}
				checkBill(t, c, o, state, charged)
			})
		})
	}
}

// tooLarge reports whether something about the oracle's state does not fit the engine's range.
func tooLarge(o *oracle, charge *big.Int) bool {
	limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil))
	if !charge.IsInt64() || !o.spent().IsInt64() {
		return true
	}
	sum := new(big.Int)
	for i := range o.card.Lines {
		n := o.lineCost(i)
		if sum.Add(sum, n); !n.IsInt64() || !sum.IsInt64() || o.quantity[i].Cmp(limit) >= 0 || o.value[i].Cmp(limit) >= 0 {
			return true
		}
	}
	return false
}

func checkBill(t *rapid.T, c *Compiled, o *oracle, state State, charged *big.Int) {
	opening, err1 := c.Opening()
	closing, err2 := c.Closing(state)
	if err1 != nil || err2 != nil {
		if !tooLarge(o, charged) && o.bill().IsInt64() && o.lines().IsInt64() {
			t.Fatalf("closing refused: %v, %v", err1, err2)
		}
		return
	}
	total := new(big.Int).Set(charged)
	for _, a := range append(opening, closing...) {
		total.Add(total, big.NewInt(a.Nano))
	}
	if want := o.bill(); total.Cmp(want) != 0 {
		t.Fatalf("events %s, opening %v and closing %v make %s, want %s", charged, opening, closing, total, want)
	}
}

// TestSplitInvariance: the same usage in other pieces sums to the same charge on every line, and
// closes alike.
func TestSplitInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := must(Compile(cards(usual).Draw(t, "card")))
		before := anyState(t, c)
		events := rapid.SliceOfN(usages(usual, allMeters[:len(allMeters)-1]...), 1, 5).Draw(t, "events")
		var pieces []Usage
		for _, u := range events {
			pieces = append(pieces, cut(t, u)...)
		}
		if rapid.Bool().Draw(t, "other order") && !hasDynamicAllowance(c) {
			pieces = rapid.Permutation(pieces).Draw(t, "order")
		}
		sum1, state1 := rateAll(t, c, before, events)
		sum2, state2 := rateAll(t, c, before, pieces)
		if sum1 != sum2 {
			t.Fatalf("whole %d, in pieces %d", sum1, sum2)
		}
		for i := range c.lines {
			if state1.at(i) != state2.at(i) {
				t.Fatalf("line %d: state %v, in pieces %v", i, state1.at(i), state2.at(i))
			}
		}
	})
}

// hasDynamicAllowance: which of a dynamic line's units are free depends on their order.
func hasDynamicAllowance(c *Compiled) bool {
	for i := range c.lines {
		if l := &c.lines[i]; l.pricing == Dynamic && !(l.allowance.IsZero() && l.usageOff.IsZero()) {
			return true
		}
	}
	return false
}

// cut divides a usage into up to four whose quantities sum to it, tokens and requests in whole ones.
func cut(t *rapid.T, u Usage) []Usage {
	var out []Usage
	left := u.Quantity
	for range rapid.IntRange(0, 3).Draw(t, "cuts") {
		part := rapid.Uint64Max(1000).Draw(t, "share of 1000")
		w := scaled(left)
		w.mul(part)
		w.div(1000)
		step := uint64(e18)
		if u.Meter != MeterTokens && u.Meter != MeterRequests {
			step = e9
		}
		w.div(step)
		w.mul(step)
		piece := u
		piece.Quantity = must(w.decimal())
		left = must(left.Sub(piece.Quantity))
		out = append(out, piece)
	}
	u.Quantity = left
	return append(out, u)
}

func rateAll(t *rapid.T, c *Compiled, before State, events []Usage) (sum int64, state State) {
	state = append(State(nil), before...)
	for _, u := range events {
		if u.Meter == MeterRequests && len(c.tokens[Requests].lines) == 0 {
			continue
		}
		ch, err := Rate(c, state, u)
		if err != nil {
			t.Fatal(err)
		}
		state.Apply(&ch)
		sum = must(money.AddNano(sum, ch.Nano))
	}
	return sum, state
}

// anyState draws what each line may have metered before.
func anyState(t *rapid.T, c *Compiled) State {
	state := make(State, len(c.lines))
	for i := range c.lines {
		l := &c.lines[i]
		if l.pricing == Flat || rapid.Bool().Draw(t, "fresh") {
			continue
		}
		decimals := 9
		if l.whole() {
			decimals = 0
		}
		state[i].Quantity = mustDecimal(string(number(t, "metered before", uint64(usual.tokens), decimals)))
		if len(l.tiers) > 1 && rapid.Bool().Draw(t, "at a tier's bound") {
			bound := l.tiers[rapid.IntRange(0, len(l.tiers)-2).Draw(t, "tier")].upTo
			state[i].Quantity = less(bound, must(money.DecimalInt(rapid.Int64Range(0, 3).Draw(t, "below"))))
		}
		if l.pricing == Dynamic {
			state[i].Value = mustDecimal(string(number(t, "value before", uint64(usual.tokens), 18)))
		}
	}
	return state
}

// TestTokenBoundHolds: no call within the bound costs more, in any mixture of its classes, at any
// time and place, after any usage.
func TestTokenBoundHolds(t *testing.T) {
	for _, kinds := range [][]Pricing{nil, {PerUnit}, {Volume}, {Graduated}, {Package}} {
		t.Run(join(kinds), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := must(Compile(cards(usual, kinds...).Draw(t, "card")))
				call := calls(usual).Draw(t, "call")
				before := anyState(t, c)
				charge, err := c.RateCall(before, &call)
				if err != nil {
					t.Fatal(err)
				}
				var q Tokens // the caller knows the sums of text alone, and may reckon with more
				for class, n := range call.Tokens {
					at := class
					for _, pool := range pools {
						if pool[0] <= class && class <= pool[len(pool)-1] {
							at = pool[0]
						}
					}
					q[at] += n
				}
				for class := range Requests {
					q[class] += rapid.Int64Range(0, 1000).Draw(t, "slack")
				}
				bound, err := c.TokenBound(&q)
				if err != nil {
					t.Fatal(err)
				}
				if charge.Nano > bound {
					t.Fatalf("charge %d above the bound %d", charge.Nano, bound)
				}
			})
		})
	}
}

// TestTokenChargeIsRate: the hot path charges what Rate does, whatever came before, or declines.
func TestTokenChargeIsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		card := cards(usual, PerUnit, Volume).Draw(t, "card")
		c := must(Compile(card))
		call := calls(usual).Draw(t, "call")
		charge, err := c.RateCall(anyState(t, c), &call)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := c.TokenCharge(&call.Tokens)
		if ok && got != charge.Nano {
			t.Fatalf("TokenCharge %d, RateCall %d", got, charge.Nano)
		}
		if !ok && c.Final() && !hasConditions(c) {
			t.Fatal("a final card without conditions was declined")
		}
	})
}

func hasConditions(c *Compiled) bool {
	for i := range c.lines {
		if !c.lines[i].when.plain() {
			return true
		}
	}
	return false
}

// TestFinalIsIndependent: a final card charges the same after any usage.
func TestFinalIsIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		card := cards(usual, PerUnit).Draw(t, "card")
		card.Commitment = nil
		for i := range card.Lines { // what is linear, in whole nano-units a token
			l := &card.Lines[i]
			*l = Line{Name: l.Name, Meter: l.Meter, When: l.When, Per: 1_000_000, Price: "1" + number(t, "price", 100, 3)}
		}
		c := must(Compile(card))
		if !c.Final() {
			t.Fatal("not final")
		}
		call := calls(usual).Draw(t, "call")
		fresh, later := must(c.RateCall(nil, &call)), must(c.RateCall(anyState(t, c), &call))
		if fresh.Nano != later.Nano {
			t.Fatalf("%d at first, %d later", fresh.Nano, later.Nano)
		}
	})
}

// TestMonotonicity: but for volume tiers, more usage never costs less; and closing keeps its limits.
func TestMonotonicity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		card := cards(usual, PerUnit, Graduated, Package).Draw(t, "card")
		c := must(Compile(card))
		call := calls(usual).Draw(t, "call")
		before := anyState(t, c)
		charge := must(c.RateCall(before, &call))
		if charge.Nano < 0 {
			t.Fatalf("negative charge %d", charge.Nano)
		}
		for _, l := range charge.Lines {
			if l.Nano < 0 && l.Line != OverageLine {
				t.Fatalf("negative charge %d on line %d", l.Nano, l.Line)
			}
		}
	})
}

// TestVolumeChargesMayBeNegative: reaching a tier of at most half the price gives money back.
func TestVolumeChargesMayBeNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.Int64Range(2, 1_000_000).Draw(t, "bound")
		dear := rapid.Int64Range(2, 1000).Draw(t, "dear")
		cheap := rapid.Int64Range(0, dear/2).Draw(t, "cheap")
		c := must(Compile(&Card{Currency: "USD", Lines: []Line{{Meter: "a", Pricing: Volume, Tiers: []Tier{
			{UpTo: Number(fmt.Sprint(bound)), Price: Number(fmt.Sprint(dear))}, {Price: Number(fmt.Sprint(cheap))},
		}}}}))
		before := State{{Quantity: must(money.DecimalInt(bound))}}
		charge := must(Rate(c, before, Usage{Meter: "a", Quantity: must(money.DecimalInt(1))}))
		if want := ((bound+1)*cheap - bound*dear) * money.Nano; charge.Nano != want || want >= 0 {
			t.Fatalf("%d, want %d", charge.Nano, want)
		}
	})
}

// TestSplitConserves: shares sum to the charge, are at most one unit off, and mirror a refund.
func TestSplitConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		charge := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-20, 20),
			rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, 0})).Draw(t, "charge")
		weights := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64Range(0, math.MaxInt64/8)), 1, 8).Draw(t, "weights")
		parts, sum := make([]Part, len(weights)), int64(0)
		for i, w := range weights {
			parts[i] = Part{w}
			sum += w
		}
		shares, err := Split(charge, parts)
		if (err != nil) != (sum == 0) {
			t.Fatalf("weights %v: %v", weights, err)
		}
		if err != nil {
			return
		}
		total := new(big.Int)
		for i, s := range shares {
			total.Add(total, big.NewInt(s))
			exact := new(big.Rat).SetFrac64(weights[i], sum)
			exact.Mul(exact, new(big.Rat).SetInt64(charge))
			off := exact.Sub(exact, new(big.Rat).SetInt64(s))
			if off.Abs(off).Cmp(big.NewRat(1, 1)) > 0 || (weights[i] == 0 && s != 0) {
				t.Fatalf("share %d of %v is %d", i, weights, s)
			}
		}
		if total.Cmp(big.NewInt(charge)) != 0 {
			t.Fatalf("%v sum to %s, not %d", shares, total, charge)
		}
		if charge != math.MinInt64 {
			for i, s := range must(Split(-charge, parts)) {
				if s != -shares[i] {
					t.Fatalf("%d splits to %v, %d to %d", charge, shares, -charge, s)
				}
			}
		}
	})
}

func TestSplitRefusesBadWeights(t *testing.T) {
	for _, parts := range [][]Part{nil, {{0}}, {{1}, {-1}}, {{math.MaxInt64}, {1}}} {
		if shares, err := Split(10, parts); err == nil {
			t.Errorf("%v: %v", parts, shares)
		}
	}
}
