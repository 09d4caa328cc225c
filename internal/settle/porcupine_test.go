package settle

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// A history of holds is linearizable if it is one of some order in which each took effect at an instant between its
// call and its return: no hold was refused that there was money for, none was granted that there was none for.
type holdInput struct {
	kind   string // take, finish or top up
	amount int64
	budget bool  // take: under the budget, too
	hold   int64 // finish: what had been held
}

type holdState struct{ wallet, budget int64 } // what is free

var holdModel = porcupine.Model{
	Init: func() any { return holdState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in := state.(holdState), input.(holdInput)
		switch in.kind {
		case "top up":
			s.wallet += in.amount
		case "finish":
			s.wallet += in.hold - in.amount
			if in.budget {
				s.budget += in.hold - in.amount
			}
		case "take":
			fits := s.wallet >= in.amount && (!in.budget || s.budget >= in.amount)
			if fits != output.(bool) {
				return false, s
			}
			if fits {
				s.wallet -= in.amount
				if in.budget {
					s.budget -= in.amount
				}
			}
		}
		return true, s
	},
}

// TestLinearizable records what callers of one bank see of a wallet and a budget that are nearly empty, while leases
// are borrowed, given back and settled, and looks for an order that explains it.
func TestLinearizable(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for seed := range uint64(15) {
			s := w.sale(w.plan(finalCard, 0))
			const money, limit = 40_000, 25_000
			budgets := []string{w.budget(s.org, limit, "total", "UTC")}
			w.topUp(s.org, money)
			n := w.start(nodeOptions{bank: BankOptions{MinLease: 1 + int64(seed)*3000}})
			start := time.Now()
			var mu sync.Mutex
			var history []porcupine.Operation
			record := func(client int, in holdInput, do func() any) any {
				call := time.Since(start).Nanoseconds()
				out := do()
				mu.Lock()
				defer mu.Unlock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: time.Since(start).Nanoseconds()})
				return out
			}
			model := holdModel
			model.Init = func() any { return holdState{money, limit} }
			together(6, func(client int) {
				r := rand.New(rand.NewPCG(seed, uint64(client)))
				for range 12 {
					if client == 0 {
						for _, p := range n.bank.all() {
							if err := n.bank.giveBack(ctx, p, r.IntN(2) == 0); err != nil {
								t.Error(err)
							}
						}
						if err := n.trySettle(); err != nil {
							t.Error(err)
						}
						continue
					}
					q := s
					in := holdInput{kind: "take", amount: 1000 * (1 + r.Int64N(10)), budget: r.IntN(2) == 0}
					if in.budget {
						q.budgets = budgets
					}
					var c *call
					got := record(client, in, func() any {
						var err error
						if c, err = n.begin(q, in.amount); err != nil && !problem.Is(err, problem.Funds) {
							t.Error(err)
						}
						return err == nil
					})
					if got.(bool) {
						cost := r.Int64N(in.amount/1000 + 1)
						record(client, holdInput{kind: "finish", amount: 1000 * cost, hold: in.amount, budget: in.budget}, func() any {
							c.end(cost, 0)
							return nil
						})
					}
				}
			})
			if res := porcupine.CheckOperationsTimeout(model, history, 20*time.Second); res != porcupine.Ok {
				t.Errorf("seed %d: %s", seed, res)
			}
			n.check()
			n.bank.tick.Store(db.Micros(w.clock.Now()))
			n.stop()
		}
		w.verified()
	})
}
