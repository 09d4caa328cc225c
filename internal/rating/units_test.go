package rating

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/money"
)

// UnitCharge is what Rate charges, whatever came before; UnitBound never less; and any split sums to the same.
func TestUnitsAgreeWithRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		meter := rapid.SampledFrom([]string{MeterCharacters, MeterAudioSeconds, MeterImages, MeterMessages}).Draw(t, "meter")
		line := Line{Meter: meter, Price: Number(rapid.SampledFrom([]string{"0.000020", "0.0001", "0.00015", "0.02", "0.0000001234", "3"}).Draw(t, "price")),
			Per: rapid.SampledFrom([]int64{1, 60, 1000, 1_000_000}).Draw(t, "per")}
		switch rapid.IntRange(0, 3).Draw(t, "pricing") {
		case 1:
			line.Pricing = Package
		case 2:
			line.Pricing, line.Price, line.Per = Graduated, "", 0
			line.Tiers = []Tier{{UpTo: "100", Price: "0.3"}, {Price: "0.1", Flat: "2"}}
		case 3:
			line.Allowance = "7"
		}
		c, err := Compile(&Card{Currency: "USD", Lines: []Line{line}})
		if err != nil {
			t.Fatal(err)
		}
		var state State
		for range 3 {
			n := rapid.Int64Range(0, 5_000_000).Draw(t, "thousandths")
			if meter != MeterAudioSeconds {
				n -= n % 1000
			}
			ch, err := c.RateCall(state, &Call{Meter: meter, Thousandths: n})
			if err != nil {
				t.Fatal(err)
			}
			if nano, ok := c.UnitCharge(meter, n); ok && nano != ch.Nano {
				t.Fatalf("%d: UnitCharge %d, Rate %d", n, nano, ch.Nano)
			}
			if most, err := c.UnitBound(meter, n); err != nil || most < ch.Nano {
				t.Fatalf("%d: bound %d (%v), Rate %d", n, most, err, ch.Nano)
			}
			state.Apply(&ch)
		}
	})
}

func TestUnitCharge(t *testing.T) {
	for _, c := range []struct {
		name, meter string
		line        Line
		n           int64
		nano        int64
		ok, final   bool
	}{
		{"characters", MeterCharacters, Line{Meter: MeterCharacters, Price: "20", Per: 1_000_000}, 12_000, 240_000, true, true},
		{"a minute's price by the thousandth of a second", MeterAudioSeconds, Line{Meter: MeterAudioSeconds, Price: "0.006", Per: 60}, 1500, 150_000, true, true},
		{"too fine a price", MeterAudioSeconds, Line{Meter: MeterAudioSeconds, Price: "0.0000000001"}, 1000, 0, false, false},
		{"package", MeterImages, Line{Meter: MeterImages, Pricing: Package, Price: "1", Per: 10}, 1000, 0, false, false},
		{"another meter", MeterMessages, Line{Meter: MeterImages, Price: "1"}, 1000, 0, false, true},
		{"free", MeterMessages, Line{Meter: MeterMessages, Free: true}, 1000, 0, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			card, err := Compile(&Card{Currency: "USD", Lines: []Line{c.line}})
			if err != nil {
				t.Fatal(err)
			}
			nano, ok := card.UnitCharge(c.meter, c.n)
			if nano != c.nano || ok != c.ok || card.Final() != c.final {
				t.Errorf("got %d, %v, final %v", nano, ok, card.Final())
			}
		})
	}
}

func TestFractionOfAWhole(t *testing.T) {
	c, err := Compile(&Card{Currency: "USD", Lines: []Line{{Meter: MeterCharacters, Price: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RateCall(nil, &Call{Meter: MeterCharacters, Thousandths: 1500}); err == nil {
		t.Error("half a character has a price")
	}
}

func TestValidateForUnits(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []Line
		ok    bool
	}{
		{"priced", []Line{{Meter: MeterImages, Price: "0.01"}}, true},
		{"free", []Line{{Meter: MeterImages, Free: true}}, true},
		{"missing", []Line{{Meter: MeterMessages, Price: "1"}}, false},
		{"some only", []Line{{Meter: MeterImages, Price: "1", When: &When{Resolution: OneOf{"4k"}}}}, false},
		{"unbounded", []Line{{Meter: MeterImages, Pricing: Dynamic}}, false},
		{"percentage", []Line{{Meter: MeterImages, Pricing: Percentage, Percent: "3"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			card := &Card{Currency: "USD", Lines: c.lines}
			if err := card.ValidateForUnits(MeterImages); (err == nil) != c.ok {
				t.Error(err)
			}
		})
	}
}

func TestThousandths(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1: "0.001", 1500: "1.5", 1_000_000: "1000"} {
		d, err := Thousandths(n)
		w, err2 := money.ParseDecimal(want)
		if diff := cmp.Diff(w.String(), d.String()); err != nil || err2 != nil || diff != "" {
			t.Error(err, err2, diff)
		}
	}
	if _, err := Thousandths(-1); err == nil {
		t.Error("negative")
	}
}
