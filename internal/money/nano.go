package money

import (
	"fmt"
	"math"
	"strconv"
)

// ParseNano reads an amount like "12", "-0.5" or "0.000000001" into nano-units. The grammar is that
// of a JSON number without exponent: no plus sign, no leading zeros, no spaces, at most nine
// decimals.
func ParseNano(s string) (int64, error) {
	text, neg := s, false
	if len(s) > 0 && s[0] == '-' {
		text, neg = s[1:], true
	}
	whole, frac, err := parseParts(text, 9)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", clip(s), err)
	}
	if whole > math.MaxInt64/Nano+1 {
		return 0, fmt.Errorf("%q: %w", clip(s), ErrRange)
	}
	n := whole*Nano + frac // below 2⁶³ + 2·10⁹: fits uint64
	switch {
	case neg && n <= 1<<63:
		return -int64(n), nil
	case !neg && n <= math.MaxInt64:
		return int64(n), nil
	}
	return 0, fmt.Errorf("%q: %w", clip(s), ErrRange)
}

// FormatNano writes nano-units as the shortest decimal that ParseNano reads back: "0", "-0.5", "12".
func FormatNano(n int64) string { return string(AppendNano(make([]byte, 0, 24), n)) }

// AppendNano appends FormatNano(n) to dst.
func AppendNano(dst []byte, n int64) []byte {
	if n < 0 {
		dst = append(dst, '-')
	}
	m := magnitude(n)
	dst = strconv.AppendUint(dst, m/Nano, 10)
	return appendFraction(dst, m%Nano, Nano/10)
}

// appendFraction appends "." and the digits of frac, whose first digit has the weight unit, without
// trailing zeros; nothing when frac is zero.
func appendFraction(dst []byte, frac, unit uint64) []byte {
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for ; frac > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}

// parseParts reads digits[.digits] with at most `decimals` (≤ 18) decimals: the whole part below
// 10¹⁸, and the fraction in units of 10^-decimals.
func parseParts(s string, decimals int) (whole, frac uint64, err error) {
	i := 0
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		if whole >= 1e17 {
			return 0, 0, ErrRange
		}
		whole = whole*10 + uint64(s[i]-'0')
	}
	if i == 0 || (i > 1 && s[0] == '0') {
		return 0, 0, ErrSyntax
	}
	digits := 0
	if i < len(s) {
		if s[i] != '.' || i+1 == len(s) {
			return 0, 0, ErrSyntax
		}
		for i++; i < len(s); i++ {
			if s[i]-'0' > 9 {
				return 0, 0, ErrSyntax
			}
			if digits == decimals {
				return 0, 0, ErrPrecision
			}
			frac = frac*10 + uint64(s[i]-'0')
			digits++
		}
	}
	for ; digits < decimals; digits++ {
		frac *= 10
	}
	return whole, frac, nil
}

// clip shortens text for an error message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:37] + "..."
	}
	return s
}
