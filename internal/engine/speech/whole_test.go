package speech

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSpeakAndHear(t *testing.T) {
	e := whole(t)
	start := time.Now()
	wav, err := e.Speak(t.Context(), "the weather is very nice today", "", "flite/slt")
	if err != nil {
		t.Fatal(err)
	}
	t.Log("speak", time.Since(start))
	for range 3 {
		start = time.Now()
		text, s, err := e.Hear(t.Context(), wav, "en")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("heard %q in %v, %.2f s", text, time.Since(start), s)
		if !strings.Contains(text, "weather") {
			t.Errorf("heard %q", text)
		}
	}
	var a Activity
	x, err := e.Activity(t.Context(), wav, Cut{})
	if err != nil {
		t.Fatal(err)
	}
	_ = a
	b, _ := json.Marshal(x)
	t.Log(string(b))
}
