package assist_test

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/assist"
)

// TestWidget holds what a page relies on: that the script is small, and never parses what it gets as HTML.
func TestWidget(t *testing.T) {
	js := string(assist.Widget())
	if len(js) > 32<<10 {
		t.Errorf("%d bytes", len(js))
	}
	for _, bad := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"} {
		if strings.Contains(js, bad) {
			t.Errorf("the widget uses %s", bad)
		}
	}
	for _, r := range js {
		if r >= 0x80 {
			t.Fatalf("%q is not ASCII", r)
		}
	}
	if !strings.Contains(js, assist.SecretHeader) || !strings.Contains(js, "aria-live") {
		t.Error("something is missing")
	}
}
