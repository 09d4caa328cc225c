package money

import (
	"math/big"
	"testing"
)

// numbers are the seeds of both parsers.
var numbers = []string{
	"0", "-0", "1", "0.15", "-0.000000001", "9223372036.854775807", "-9223372036.854775808",
	"9223372036.854775808", "999999999999999999.999999999999999999", "1e9", "+1", "01", ".5", "5.", "0x10", "∞",
}

func FuzzParseNano(f *testing.F) {
	for _, s := range numbers {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNano(s)
		if err != nil {
			if n != 0 {
				t.Fatalf("ParseNano(%q) = %d with error %v", s, n, err)
			}
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok || want.Cmp(big.NewRat(n, Nano)) != 0 {
			t.Fatalf("ParseNano(%q) = %d", s, n)
		}
		if back, err := ParseNano(FormatNano(n)); back != n || err != nil {
			t.Fatalf("%q does not come back: %d, %v", s, back, err)
		}
	})
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range numbers {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDecimal(s)
		if err != nil {
			if !d.IsZero() {
				t.Fatalf("ParseDecimal(%q) = %s with error %v", s, d, err)
			}
			return
		}
		want, ok := new(big.Rat).SetString(s)
		got, _ := new(big.Rat).SetString(d.String())
		if !ok || want.Cmp(got) != 0 {
			t.Fatalf("ParseDecimal(%q) = %s", s, d)
		}
	})
}

func BenchmarkAppendNano(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 32)
	for b.Loop() {
		buf = AppendNano(buf[:0], 123_456_789)
	}
}

func BenchmarkMulDivRound(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MulDivRound(123_456_789, 150_000_000, 1_000_000); err != nil {
			b.Fatal(err)
		}
	}
}
