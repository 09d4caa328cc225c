package api

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// The states of a [Finding].
const (
	Good    = "ok"
	Warning = "warning"
	Bad     = "failed"
)

// Finding is what the doctor found out about one part.
type Finding struct {
	Name   string `json:"name" example:"database"`
	State  string `json:"state" enum:"ok,warning,failed"`
	Detail string `json:"detail"`
}

type doctorOutput struct {
	Body struct {
		OK       bool      `json:"ok" doc:"Nothing has failed"`
		Version  string    `json:"version"`
		Time     time.Time `json:"time" doc:"The server's clock"`
		Findings []Finding `json:"findings"`
	} `nameHint:"Doctor"`
}

func (s *server) doctor() {
	read(s, route("get-doctor", "GET /doctor", "Find out how the platform is", tagged("doctor")),
		func(ctx context.Context, c *call, _ *struct{}) (*doctorOutput, error) {
			if err := auth.Permit(c.principal, "doctor.read", ""); err != nil {
				return nil, err
			}
			out := &doctorOutput{}
			out.Body.OK, out.Body.Version, out.Body.Time = true, s.Version, s.Clock.Now().UTC()
			out.Body.Findings = s.findings(ctx)
			if s.Doctor != nil {
				out.Body.Findings = append(out.Body.Findings, s.Doctor(ctx)...)
			}
			for _, f := range out.Body.Findings {
				out.Body.OK = out.Body.OK && f.State != Bad
			}
			return out, nil
		})
}

// stale is how old the knowledge of the other processes' changes may be.
const stale = 5 * time.Second

// findings are those that need no other knowledge than the stores'.
func (s *server) findings(ctx context.Context) []Finding {
	list := []Finding{s.database(ctx)}
	now := s.Clock.Now()
	fresh := func(name string, at time.Time, err error) {
		f := Finding{name, Good, fmt.Sprintf("known up to %s ago", now.Sub(at).Round(time.Millisecond))}
		if err != nil || now.Sub(at) > stale {
			f.State = Bad
		}
		list = append(list, f)
	}
	fresh("keys", s.Directory.Fresh(), nil)
	at, err := s.Book.Health()
	fresh("catalogue", at, err)
	for _, fault := range s.Book.Snapshot().Catalog.Faults {
		list = append(list, Finding{"credentials", Bad, fmt.Sprintf("the credential %s cannot be opened: was the sealer's key lost?", fault.Object)})
	}
	suspense, err := settle.Suspense(ctx, s.DB, 101)
	switch {
	case err != nil:
		list = append(list, Finding{"suspense", Bad, "cannot be read"})
	case len(suspense) > 100:
		list = append(list, Finding{"suspense", Warning, "more than 100 calls could not be settled"})
	case len(suspense) > 0:
		list = append(list, Finding{"suspense", Warning, fmt.Sprintf("%d calls could not be settled", len(suspense))})
	default:
		list = append(list, Finding{"suspense", Good, "every call was settled"})
	}
	return list
}

func (s *server) database(ctx context.Context) Finding {
	start := s.Clock.Now()
	err := s.DB.View(ctx, func(tx *db.Tx) error {
		_, err := org.HasOperator(tx, false)
		return err
	})
	took := s.Clock.Now().Sub(start).Round(time.Microsecond)
	if err != nil {
		return Finding{"database", Bad, s.DB.Engine().String() + " does not answer"}
	}
	return Finding{"database", Good, fmt.Sprintf("%s answered in %s", s.DB.Engine(), took)}
}
