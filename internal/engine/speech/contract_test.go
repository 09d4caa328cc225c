package speech

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	for _, op := range enginetest.Contract(t, Contract(), Routes()) {
		if op.Description == "" {
			t.Errorf("%s is not described", op.OperationID)
		}
	}
	for _, r := range Routes() {
		if (r.Meter == "") != (r.Measure == nil) {
			t.Errorf("%s: a meter without a measure, or the other way round", r.Name)
		}
	}
}
