package vision

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

// TestContract: what is posted has an example, and everything is explained.
func TestContract(t *testing.T) {
	for _, op := range enginetest.Contract(t, Contract(), Routes()) {
		if op.Description == "" || (op.Method == "post") != (op.RequestBody != nil) {
			t.Errorf("%s: no description, or a body", op.OperationID)
		}
		if op.RequestBody != nil && len(op.RequestBody.Content["application/json"].Example) == 0 {
			t.Errorf("%s has no example", op.OperationID)
		}
	}
}

func TestRoutes(t *testing.T) {
	e := newEngine(t, Options{})
	for _, r := range Routes() {
		if e.handler(r.Name) == nil {
			t.Errorf("%s has no handler", r.Name)
		}
		if r.Meter != "" && r.Meter != engine.Images {
			t.Errorf("%s: meter %s", r.Name, r.Meter)
		}
	}
	if e.handler("vision.galleries.other") != nil || e.handler("other") != nil {
		t.Error("a handler for what is no route")
	}
}

func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		route, body string
		want        engine.Quantity
		err         bool
	}{
		{"vision.faces.verify", `{}`, 2000, false},
		{"vision.galleries.persons.create", `{"images":["a","b","c"]}`, 3000, false},
		{"vision.galleries.persons.create", `{"images":["a"],"image":"b"}`, 2000, false},
		{"vision.galleries.persons.create", `{}`, 1000, false},
		{"vision.galleries.persons.create", `{"images":7}`, 1000, false},
		{"vision.galleries.persons.create", `nonsense`, 0, true},
		{"images.generations", `{"prompt":"a"}`, 1000, false},
		{"images.generations", `{"prompt":"a","n":4}`, 4000, false},
		{"images.generations", `{"prompt":"a","n":11}`, 0, true},
		{"images.generations", `{"prompt":"a","n":-1}`, 0, true},
		{"images.generations", `{"prompt":""}`, 0, true},
	} {
		r := enginetest.Route(t, Routes(), c.route)
		got, err := r.Measure(&engine.Request{Route: r, Type: "application/json", Body: []byte(c.body)})
		if got != c.want || (err != nil) != c.err {
			t.Errorf("%s %s: %d, %v", c.route, c.body, got, err)
		}
	}
}
