package translate

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	for _, op := range enginetest.Contract(t, Contract(), Routes()) {
		if op.Responses["default"] == nil {
			t.Errorf("%s describes no error", op.OperationID)
		}
	}
	for _, r := range Routes() {
		if (r.Meter != "") != (r.Measure != nil) || r.Capability != engine.Translate {
			t.Errorf("%s: meter %q without a measure, or the reverse", r.Name, r.Meter)
		}
	}
}
