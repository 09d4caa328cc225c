package meter

import (
	"fmt"
	"strconv"
	"strings"
)

// Quantity writes an amount in thousandths as a decimal, with up to three decimals.
func Quantity(thousandths int64) string {
	if thousandths%1000 == 0 {
		return strconv.FormatInt(thousandths/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", thousandths/1000, thousandths%1000), "0")
}
