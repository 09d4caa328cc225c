package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/job"
	"github.com/tollgate-io/tollgate/internal/plan"
)

// TestItemOf: whatever is a product is an item.
func TestItemOf(t *testing.T) {
	x := startDemo(t, nil)
	long := strings.Repeat("长", 6600) // 19,800 bytes
	for i, p := range []*catalog.Product{
		{Model: "gold"},
		{Model: "gold", Title: catalog.Text{En: " "}},
		{Model: "gold", Title: catalog.Text{En: long}, Description: catalog.Text{En: long, Zh: long}},
	} {
		p.ID, p.Published = fmt.Sprintf("prd_%d", i), time.Now()
		it := itemOf(p)
		if err := x.engines.recommend.Upsert(t.Context(), relatedOwner, relatedSpace, it); err != nil {
			t.Errorf("%+.80v: %v", it, err)
		}
	}
	if _, err := x.followCatalogue(t.Context(), job.Lease{}); err != nil {
		t.Error(err)
	}
	if i := slices.IndexFunc(x.Book.OnSale(), func(s plan.Sale) bool { return len(x.related(t.Context(), s.Product.ID)) > 0 }); i < 0 {
		t.Error("nothing is related to anything")
	}
}
