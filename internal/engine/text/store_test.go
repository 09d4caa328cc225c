package text

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

// invented are examples of labels that a few words tell, with noise words around them.
func invented(labels, each int, seed uint64) []Example {
	r := rand.New(rand.NewPCG(seed, 9))
	word := func(n int) string { return fmt.Sprintf("w%03d", n) }
	var out []Example
	for l := range labels {
		for range each {
			var words []string
			for range 3 {
				words = append(words, word(10*l+r.IntN(10)))
			}
			for range 5 {
				words = append(words, word(500+r.IntN(200)))
			}
			r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
			out = append(out, Example{strings.Join(words, " "), fmt.Sprintf("label-%d", l)})
		}
	}
	return out
}

// TestClassifiers is the life of a classifier: train, evaluate, choose, delete; and no other owner sees it.
func TestClassifiers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		c := newCaller(t, d, "", "org_1")
		other := &caller{t, c.e, "org_2"}
		c.ok("POST /v1/text/classifiers", object{"name": "intents", "description": "what a customer wants"})
		if _, p := c.call("POST /v1/text/classifiers", object{"name": "intents"}); p == nil || p.ID != "text.classifier_exists" {
			t.Errorf("twice: %v", p)
		}
		if _, p := c.call("POST /v1/text/classify", object{"text": "x", "classifier": "intents"}); p == nil || p.ID != "text.not_trained" {
			t.Errorf("untrained: %v", p)
		}
		examples := invented(4, 40, 1)
		v := c.ok("POST /v1/text/classifiers/intents/versions", object{"examples": examples, "seed": 7})
		e := v["evaluation"].(object)
		if v["version"] != 1.0 || v["live"] != true || e["samples"] != 32.0 || e["accuracy"].(float64) < 0.9 {
			t.Errorf("version 1: %v", v)
		}
		var rows strings.Builder
		rows.WriteString("category,text\n")
		for _, x := range invented(3, 10, 2) {
			rows.WriteString(x.Label + `,"` + x.Text + "\"\n")
		}
		a, p := c.send("POST /v1/text/classifiers/intents/versions?live=false&seed=3", "text/csv; charset=utf-8", rows.String())
		if p != nil {
			t.Fatal(p)
		}
		if v := c.decode(a); v["version"] != 2.0 || v["live"] != false || v["examples"] != 30.0 || v["labels"] != 3.0 || v["seed"] != 3.0 {
			t.Errorf("version 2: %v", v)
		}
		m := c.ok("POST /v1/text/classify", object{"text": "w001 w002 w005 w600", "classifier": "intents"})
		if result(m, "label") != "label-0" || m["version"] != 1.0 || m["model"] != "intents@1" {
			t.Errorf("classified: %v", m)
		}
		c.ok("PATCH /v1/text/classifiers/intents", object{"live_version": 2})
		if m := c.ok("POST /v1/text/classify", object{"text": "w001 w002 w005", "classifier": "intents"}); m["version"] != 2.0 {
			t.Errorf("after the change: %v", m)
		}
		if m := c.ok("POST /v1/text/classify", object{"text": "w001 w002 w005", "classifier": "intents", "version": 1}); m["version"] != 1.0 {
			t.Errorf("by number: %v", m)
		}
		for _, x := range []struct {
			c    *caller
			at   string
			body any
			id   string
		}{
			{c, "PATCH /v1/text/classifiers/intents", object{"live_version": 9}, "text.no_version"},
			{c, "DELETE /v1/text/classifiers/intents/versions/2", nil, "text.version_live"},
			{c, "GET /v1/text/classifiers/intents/versions/9", nil, "text.no_version"},
			{other, "GET /v1/text/classifiers/intents", nil, "text.no_classifier"},
			{other, "GET /v1/text/classifiers/intents/versions", nil, "text.no_classifier"},
			{other, "GET /v1/text/classifiers/intents/versions/1", nil, "text.no_classifier"},
			{other, "DELETE /v1/text/classifiers/intents", nil, "text.no_classifier"},
			{other, "DELETE /v1/text/classifiers/intents/versions/1", nil, "text.no_classifier"},
			{other, "PATCH /v1/text/classifiers/intents", object{"description": "mine"}, "text.no_classifier"},
			{other, "POST /v1/text/classify", object{"text": "x", "classifier": "intents"}, "text.no_classifier"},
			{other, "POST /v1/text/classifiers/intents/versions", object{"examples": examples}, "text.no_classifier"},
		} {
			if _, p := x.c.call(x.at, x.body); p == nil || p.ID != x.id {
				t.Errorf("%s %s: %v, want %s", x.c.owner, x.at, p, x.id)
			}
		}
		if n := len(other.ok("GET /v1/text/classifiers", nil)["classifiers"].([]any)); n != 0 {
			t.Errorf("the other sees %d", n)
		}
		c.ok("DELETE /v1/text/classifiers/intents/versions/1", nil)
		if _, p := c.call("POST /v1/text/classify", object{"text": "x", "classifier": "intents", "version": 1}); p == nil || p.ID != "text.no_version" {
			t.Errorf("a deleted version answers: %v", p)
		}
		if list := c.ok("GET /v1/text/classifiers/intents/versions", nil)["versions"].([]any); len(list) != 1 {
			t.Errorf("versions: %v", list)
		}
		if v := c.ok("POST /v1/text/classifiers/intents/versions", object{"examples": examples}); v["version"] != 3.0 {
			t.Errorf("a number given again: %v", v["version"])
		}
		c.ok("DELETE /v1/text/classifiers/intents", nil)
		if n := len(c.ok("GET /v1/text/classifiers", nil)["classifiers"].([]any)); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// TestModelRoundTrip: what is stored answers as what was trained, and the same seed trains the same.
func TestModelRoundTrip(t *testing.T) {
	t.Parallel()
	examples := invented(6, 30, 4)
	var stored [2][]byte
	var c *Classifier
	for i := range stored {
		var err error
		if c, _, err = Train(context.Background(), examples, TrainOptions{Seed: 5}); err != nil {
			t.Fatal(err)
		}
		if stored[i], err = c.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	}
	if string(stored[0]) != string(stored[1]) {
		t.Error("the same examples and seed made two models")
	}
	back, err := ReadClassifier(stored[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range invented(6, 5, 6) {
		a, b := c.Predict(x.Text, 1)[0], back.Predict(x.Text, 1)[0]
		if a.Label != b.Label || a.Confidence-b.Confidence > 0.02 || b.Confidence-a.Confidence > 0.02 {
			t.Errorf("%q: %v, stored %v", x.Text, a, b)
		}
	}
	for n := 0; n < len(stored[0]); n += 1 + len(stored[0])/50 {
		if _, err := ReadClassifier(stored[0][:n]); err == nil {
			t.Fatalf("cut at %d it is read", n)
		}
	}
}
