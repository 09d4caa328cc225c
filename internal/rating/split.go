package rating

import (
	"fmt"
	"math/bits"

	"github.com/tollgate-io/tollgate/internal/money"
)

// Part is one share of a split: Weight of the sum of all weights, such as parts per million.
type Part struct{ Weight int64 }

// Split divides a charge among parts, to the last unit: the shares sum to the charge. Each share is
// rounded towards zero, and the units left over go one each to the first parts with a weight, in
// their order. A negative charge splits as the positive one does, with the signs turned. Weights
// that are negative, sum to zero or overflow are an error.
func Split(charge int64, parts []Part) ([]int64, error) {
	return AppendSplit(make([]int64, 0, len(parts)), charge, parts)
}

// AppendSplit appends the shares of Split to dst.
func AppendSplit(dst []int64, charge int64, parts []Part) ([]int64, error) {
	var sum int64
	for i, p := range parts {
		total, err := money.AddNano(sum, p.Weight)
		if p.Weight < 0 || err != nil {
			return dst, fmt.Errorf("split: weight %d of part %d: %w", p.Weight, i, money.ErrRange)
		}
		sum = total
	}
	if sum == 0 {
		return dst, fmt.Errorf("split: no part has a weight: %w", money.ErrRange)
	}
	whole := uint64(charge)
	if charge < 0 {
		whole = -whole
	}
	left := whole
	first := len(dst)
	for _, p := range parts {
		hi, lo := bits.Mul64(whole, uint64(p.Weight))
		share, _ := bits.Div64(hi, lo, uint64(sum)) // weight ≤ sum, so that the share is at most whole
		left -= share
		dst = append(dst, int64(share))
	}
	for i := range parts {
		if left > 0 && parts[i].Weight > 0 {
			dst[first+i]++ // fewer units are left than parts with a weight
			left--
		}
		if charge < 0 {
			dst[first+i] = -dst[first+i]
		}
	}
	return dst, nil
}
