package assist_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// waits is a session of the model.
type waits struct {
	id       string
	queue    int
	priority int
	ticket   int
}

// TestRoutingProperties runs random work at a desk against a small model of it: nobody has a session twice, no agent more than its
// capacity, and whoever asks for the next session gets the first of the line that it may serve.
func TestRoutingProperties(t *testing.T) {
	owner := 0
	each(t, func(t *testing.T, h *house) {
		rapid.Check(t, func(rt *rapid.T) {
			owner++
			d := newDesk(&house{t, h.e, h.clock, fmt.Sprintf("org_%d", owner)}, rt)
			for range rapid.IntRange(5, 14).Draw(rt, "steps") {
				d.step(rt)
			}
		})
	})
}

type desk struct {
	*house
	bots     []string // one for each queue
	queues   []string
	skills   []string
	agents   []string
	capacity []int
	able     []bool // the second agent lacks the skill of the second queue
	line     []waits
	has      map[string][]string // sessions by agent
	ticket   int
}

func newDesk(h *house, rt *rapid.T) *desk {
	d := &desk{house: h, has: map[string][]string{}, able: []bool{true, false}}
	for i, q := range []string{`{"name":"a"}`, `{"name":"b","skills":["x"],"priority":3}`} {
		id := h.do("POST queues", q).text("id")
		d.queues = append(d.queues, id)
		d.bots = append(d.bots, h.do("POST bots", object{"name": fmt.Sprint(i), "queues": []string{id}}).text("id"))
	}
	for i, skill := range []string{"x", "y"} {
		n := rapid.IntRange(1, 2).Draw(rt, "capacity")
		d.capacity = append(d.capacity, n)
		d.agents = append(d.agents, h.do("POST agents", object{"name": fmt.Sprint(i), "status": "online", "automatic": false, "capacity": n, "skills": []string{skill}}).text("id"))
	}
	return d
}

// first is the session that an agent must get, or -1.
func (d *desk) first(agent int) int {
	best := -1
	for i, w := range d.line {
		if w.queue == 1 && !d.able[agent] {
			continue
		}
		if best < 0 || w.priority > d.line[best].priority || w.priority == d.line[best].priority && w.ticket < d.line[best].ticket {
			best = i
		}
	}
	return best
}

func (d *desk) step(rt *rapid.T) {
	agent := rapid.IntRange(0, 1).Draw(rt, "agent")
	id := d.agents[agent]
	switch rapid.SampledFrom([]string{"arrive", "arrive", "next", "next", "close", "transfer"}).Draw(rt, "step") {
	case "arrive":
		q := rapid.IntRange(0, 1).Draw(rt, "queue")
		v := d.visit(d.bots[q], nil)
		if got := v.say("human"); got.text("state") != "waiting" {
			rt.Fatalf("state %v", got)
		}
		d.ticket++
		d.line = append(d.line, waits{v.id, q, 3 * q, d.ticket})
	case "next":
		if len(d.has[id]) >= d.capacity[agent] && d.first(agent) >= 0 {
			d.refused("assist.agent_full", "POST agents/"+id+"/next", nil)
			return
		}
		got := d.do("POST agents/"+id+"/next", nil).text("session.id")
		want := d.first(agent)
		switch {
		case want < 0 && got != "":
			rt.Fatalf("agent %d got %s of an empty line", agent, got)
		case want >= 0 && got != d.line[want].id:
			rt.Fatalf("agent %d got %q, not %q of %v", agent, got, d.line[want].id, d.line)
		case want >= 0:
			d.line = slices.Delete(d.line, want, want+1)
			d.has[id] = append(d.has[id], got)
		}
	case "close":
		if mine := d.has[id]; len(mine) > 0 {
			d.do("POST desk/sessions/"+mine[0]+"/close", nil)
			d.has[id] = mine[1:]
		}
	case "transfer":
		if mine := d.has[id]; len(mine) > 0 {
			other := 1 - agent
			if len(d.has[d.agents[other]]) >= d.capacity[other] {
				d.refused("assist.agent_full", "POST desk/sessions/"+mine[0]+"/transfer", object{"agent": d.agents[other]})
				return
			}
			d.do("POST desk/sessions/"+mine[0]+"/transfer", object{"agent": d.agents[other]})
			d.has[id], d.has[d.agents[other]] = mine[1:], append(d.has[d.agents[other]], mine[0])
		}
	}
	for i, a := range d.agents {
		if got := int(d.do("GET agents/"+a, nil).number("load")); got != len(d.has[a]) || got > d.capacity[i] {
			rt.Fatalf("agent %d has %d sessions, the model %d of %d", i, got, len(d.has[a]), d.capacity[i])
		}
	}
}

// TestRoutingTogether: many agents ask at once, and people leave and come meanwhile.
func TestRoutingTogether(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		q := h.do("POST queues", `{"name":"all"}`).text("id")
		bot := h.do("POST bots", object{"name": "b", "queues": []string{q}}).text("id")
		var manual, auto []string
		for i := range 6 {
			id := h.do("POST agents", object{"name": fmt.Sprint(i), "status": "online", "capacity": 2, "automatic": i%2 == 0}).text("id")
			if i%2 == 0 {
				auto = append(auto, id)
			} else {
				manual = append(manual, id)
			}
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		owners := map[string]int{}
		for range 24 {
			wg.Go(func() {
				v := h.visit(bot, nil)
				v.say("human")
			})
		}
		for _, id := range manual {
			wg.Go(func() {
				for range 6 {
					a, err := h.try("POST agents/"+id+"/next", nil)
					if err != nil {
						continue // has all it can have
					}
					_ = a
				}
			})
		}
		wg.Wait()
		list := h.do("GET desk/sessions?limit=100", nil)
		load := map[string]int{}
		states := map[string]int{}
		for _, s := range list.at("data").([]any) {
			o := object(s.(map[string]any))
			states[o.text("state")]++
			mu.Lock()
			owners[o.text("id")]++
			mu.Unlock()
			if o.text("state") == "human" {
				load[o.text("agent")]++
			}
		}
		for _, id := range auto {
			if load[id] != 2 {
				t.Errorf("agent %s, who takes sessions by itself, has %d while %d wait", id, load[id], states["waiting"])
			}
		}
		for id, n := range load {
			if n > 2 {
				t.Errorf("agent %s has %d sessions", id, n)
			}
		}
		if states["human"]+states["waiting"] != 24 {
			t.Errorf("states %v", states)
		}
	})
}
