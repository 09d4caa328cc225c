package recommend

import (
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
)

func TestSeedDemo(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		began := time.Now()
		for range 2 {
			if err := r.e.SeedDemo(t.Context(), r.owner); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("took %v", time.Since(began))
		var st status
		r.must(&st, "spaces.get", nil, DemoSpace)
		if st.Items != 60 || st.Users != 300 || st.Events < 4500 || st.Events > 5500 {
			t.Fatalf("%+v", st)
		}
		r.trained()
		a := r.ask("for_you", map[string]any{"user": "u1", "exclude": []string{"purchased"}, "limit": 5})
		tea := 0
		for _, it := range a.Items {
			if it.Category == "tea" || it.Category == "books" {
				tea++
			}
		}
		if tea < 3 {
			t.Errorf("u1 drinks tea: %v", ids(a))
		}
		var ev struct {
			Users int     `json:"users"`
			Over  float64 `json:"hybrid_over_popular"`
		}
		r.must(&ev, "evaluate", `{"k":5}`, DemoSpace)
		if ev.Users < 200 || ev.Over < 1.5 {
			t.Errorf("%+v", ev)
		}
	})
}
