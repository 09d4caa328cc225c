package assist_test

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	enginetest.Contract(t, assist.Contract(), assist.Routes())
	for _, r := range assist.Routes() {
		if strings.HasPrefix(r.Name, "assist.desk.") && r.Public {
			t.Errorf("%s is public", r.Name)
		}
		if strings.HasPrefix(r.Name, "assist.sessions.") != (r.Public && !r.Socket) {
			t.Errorf("%s: public is %v", r.Name, r.Public)
		}
	}
}
