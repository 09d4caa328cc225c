package api

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
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
	Detail string `json:"detail" doc:"In English or Chinese, by Accept-Language"`
	Advice string `json:"advice,omitempty" doc:"What to do about it"`
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
	read(s, route("get-doctor", "GET /doctor", "Find out how the platform is", tagged("doctor"),
		about("As the process that answers sees it: database, spool, settlement, chains, upstreams, keys, disk, clock, limits.")),
		func(ctx context.Context, c *call, _ *struct{}) (*doctorOutput, error) {
			if err := auth.Permit(c.principal, "doctor.read", ""); err != nil {
				return nil, err
			}
			out := &doctorOutput{}
			out.Body.OK, out.Body.Version, out.Body.Time = true, s.Version, s.Clock.Now().UTC()
			out.Body.Findings = append([]Finding{}, s.Doctor(ctx, c.lang)...)
			for _, f := range out.Body.Findings {
				out.Body.OK = out.Body.OK && f.State != Bad
			}
			return out, nil
		})
}
