package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// SeenModel is a model that an upstream lists or has listed.
type SeenModel struct {
	Model     string    `json:"model"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Gone      time.Time `json:"gone,omitzero"` // since when it is no longer listed; zero while it is
}

const (
	maxModels    = 10_000
	maxModelList = 8 << 20
)

// FetchModels asks an upstream for the models it has (GET {url}/models, OpenAI's list shape) and
// returns their ids, sorted, each once. client must be the guarded one (egress). An empty credential
// is not sent. Errors are fit for the provider who owns the upstream.
func FetchModels(ctx context.Context, client *http.Client, u *Upstream, credential secret.Text) ([]string, error) {
	if u.Dialect == Builtin {
		return nil, problem.New(problem.Conflict, "catalog.models_builtin", "a built-in engine has no model list")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(u.Timeouts.Connect+u.Timeouts.FirstByte)*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL+"/models", nil)
	if err != nil {
		return nil, fmt.Errorf("catalog: models of %s: %w", u.ID, err)
	}
	req.Header.Set("Accept", "application/json")
	if !credential.IsZero() {
		req.Header.Set("Authorization", "Bearer "+credential.Reveal())
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, problem.New(problem.Upstream, "catalog.models_failed", "the upstream %q did not answer with its model list", u.Name).Because(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, problem.New(problem.Upstream, "catalog.models_status", "the upstream %q answered status %d when asked for its models", u.Name, resp.StatusCode)
	}
	return readModels(resp.Body, u.Name)
}

func readModels(body io.Reader, name string) ([]string, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxModelList+1))
	if err != nil {
		return nil, problem.New(problem.Upstream, "catalog.models_failed", "the upstream %q did not answer with its model list", name).Because(err)
	}
	var answer struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	err = json.Unmarshal(data, &answer)
	if err != nil || answer.Data == nil || len(data) > maxModelList || len(answer.Data) > maxModels {
		return nil, problem.New(problem.Upstream, "catalog.models_shape",
			`the upstream %q answered with something that is no model list, {"data":[{"id":…}]}, or with too long a one`, name).Because(err)
	}
	ids := make([]string, 0, len(answer.Data))
	for _, m := range answer.Data {
		if validUpstreamModel(m.ID) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// RecordModels notes what an upstream lists now, and returns what is new and what is no longer
// there, both sorted. A model that comes back is new again. Nothing else changes: targets keep
// calling a model that is gone, and it is for the provider to act.
func (s *Store) RecordModels(ctx context.Context, upstreamID string, models []string) (added, gone []string, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		added, gone, err = s.RecordModelsTx(tx, upstreamID, models)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return added, gone, nil
}

// RecordModelsTx is [Store.RecordModels] within tx.
func (s *Store) RecordModelsTx(tx *db.Tx, upstreamID string, models []string) (added, gone []string, err error) {
	if _, err := s.lockUpstream(tx, upstreamID, Any); err != nil {
		return nil, nil, err
	}
	seen, err := readSeen(tx, upstreamID)
	if err != nil {
		return nil, nil, err
	}
	had := map[string]bool{}
	for _, m := range seen {
		if m.Gone.IsZero() {
			had[m.Model] = true
		}
	}
	now := db.Micros(tx.Now())
	has := map[string]bool{}
	for _, m := range models {
		if has[m] {
			continue
		}
		has[m] = true
		if !had[m] {
			added = append(added, m)
		}
		if _, err := tx.Exec(`INSERT INTO upstream_model (upstream_id, model, first_seen_at, last_seen_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (upstream_id, model) DO UPDATE SET last_seen_at = excluded.last_seen_at, gone_at = NULL`,
			upstreamID, m, now, now); err != nil {
			return nil, nil, err
		}
	}
	for m := range had {
		if has[m] {
			continue
		}
		gone = append(gone, m)
		if _, err := tx.Exec(`UPDATE upstream_model SET gone_at = $1 WHERE upstream_id = $2 AND model = $3`, now, upstreamID, m); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(added)
	slices.Sort(gone)
	return added, gone, nil
}

// SeenModels returns what an upstream lists and has listed, by model.
func (s *Store) SeenModels(ctx context.Context, upstreamID string) ([]SeenModel, error) {
	return view(ctx, s, func(tx *db.Tx) ([]SeenModel, error) {
		if _, err := s.UpstreamTx(tx, upstreamID); err != nil {
			return nil, err
		}
		return readSeen(tx, upstreamID)
	})
}

func readSeen(tx *db.Tx, upstreamID string) ([]SeenModel, error) {
	rows, err := tx.Query(`SELECT model, first_seen_at, last_seen_at, gone_at FROM upstream_model WHERE upstream_id = $1 ORDER BY model`, upstreamID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []SeenModel
	for rows.Next() {
		var m SeenModel
		var first, last int64
		var gone *int64
		if err := rows.Scan(&m.Model, &first, &last, &gone); err != nil {
			return nil, err
		}
		m.FirstSeen, m.LastSeen = db.Time(first), db.Time(last)
		if gone != nil {
			m.Gone = db.Time(*gone)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}
