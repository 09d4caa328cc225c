package gateway

import (
	"fmt"
	"strconv"
	"strings"
)

// quantity shows an amount in thousandths as a decimal.
func quantity(n int64) string {
	if n%1000 == 0 {
		return strconv.FormatInt(n/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", n/1000, n%1000), "0")
}
