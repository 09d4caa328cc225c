package api

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
)

// The states of a key of the sealer.
const (
	KeySealing = "sealing" // the first of the ring: it seals what is new
	KeyOpening = "opening" // still opens what it sealed
	KeyLost    = "lost"    // not in the key file
)

// SealedBy counts what a key of the sealer has sealed.
type SealedBy struct {
	ID          string `json:"id"`
	State       string `json:"state" enum:"sealing,opening,lost" doc:"sealing: seals what is new; opening: still opens what it sealed; lost: not in the key file"`
	Credentials int64  `json:"credentials" doc:"Of upstreams"`
	Recorded    int64  `json:"recorded" doc:"Calls whose content is recorded"`
	Answers     int64  `json:"answers" doc:"Kept for a day by Idempotency-Key"`
	Engines     int64  `json:"engines" doc:"Of customer service and of galleries of faces"`
}

// Total is how many values the key has sealed.
func (k SealedBy) Total() int64 { return k.Credentials + k.Recorded + k.Answers + k.Engines }

// Sealing is the state of the sealer's keys: those of the ring in their order, then those that are lost.
type Sealing struct {
	File string     `json:"file" doc:"On the server's disk"`
	Keys []SealedBy `json:"keys"`
	Old  int64      `json:"old" doc:"Values that a key sealed which no longer seals: reseal, then drop the old keys"`
	Lost int64      `json:"lost" doc:"Values that no key of the file opens"`
}

type sealingOutput struct{ Body Sealing }

type resealed struct {
	Resealed int `json:"resealed" doc:"Values that an older key had sealed"`
	Sealing
}

func (s *server) sealer() {
	read(s, route("get-sealer", "GET /sealer", "Find out what is sealed with which key"),
		func(ctx context.Context, c *call, _ *struct{}) (*sealingOutput, error) {
			if err := auth.Permit(c.principal, "doctor.read", ""); err != nil {
				return nil, err
			}
			st, err := s.Sealing(ctx)
			return &sealingOutput{st}, err
		})
	read(s, route("reseal", "POST /sealer/reseal", "Seal everything with the first key of the key file", tagged("sealer"),
		about("After tollgate sealer rotate. Then tollgate sealer drop removes the old keys.")),
		func(ctx context.Context, c *call, _ *struct{}) (*struct{ Body resealed }, error) {
			if err := auth.Permit(c.principal, "sealer.reseal", ""); err != nil {
				return nil, err
			}
			out := &struct{ Body resealed }{}
			var err error
			if out.Body.Resealed, err = s.Reseal(ctx); err != nil {
				return nil, err
			}
			err = s.DB.Update(ctx, func(tx *db.Tx) error {
				return audit.Record(tx, audit.Entry{Actor: c.actor, Action: "sealer.reseal", Object: "sealer", After: map[string]int{"resealed": out.Body.Resealed}})
			})
			if err == nil {
				out.Body.Sealing, err = s.Sealing(ctx)
			}
			return out, err
		})
}
