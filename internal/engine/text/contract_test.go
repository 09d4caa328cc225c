package text

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	enginetest.Contract(t, Contract(), Routes())
	var doc struct {
		Components struct {
			Schemas struct{ EntityType struct{ Enum []string } }
		}
	}
	if err := json.Unmarshal(Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Components.Schemas.EntityType.Enum; !slices.Equal(got, entityTypes) {
		t.Errorf("types of entities differ: %v", got)
	}
}
