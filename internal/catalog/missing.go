package catalog

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// RefreshModels asks an upstream of a [Snapshot] for its models, with its credentials in turn until one
// is accepted, and records what it lists; see [Store.RecordModels]. client must be the guarded one.
func (s *Store) RefreshModels(ctx context.Context, client *http.Client, u *Upstream) (added, gone []string, err error) {
	keys := []secret.Text{{}}
	if len(u.Credentials) > 0 {
		keys = keys[:0]
		for _, c := range u.Credentials {
			keys = append(keys, c.Secret)
		}
	}
	var models []string
	for _, key := range keys {
		models, err = FetchModels(ctx, client, u, key)
		if err == nil || problem.As(err).ID != "catalog.models_status" {
			break // no other credential will do better
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return s.RecordModels(ctx, u.ID, models)
}

// Missing is a live target whose upstream no longer lists the model that the target calls.
type Missing struct {
	OrgID      string    `json:"organisation_id"`
	UpstreamID string    `json:"upstream_id"`
	Upstream   string    `json:"upstream"`
	Product    string    `json:"product"`
	Version    string    `json:"version"`
	Model      string    `json:"upstream_model"`
	Since      time.Time `json:"since"`
}

// MissingModels returns the live targets of products on sale whose model an active upstream listed once
// and no longer lists, by upstream, model, product and version. A model that was never listed is not
// missing: some servers do not list all they answer.
func (s *Store) MissingModels(ctx context.Context) ([]Missing, error) {
	return view(ctx, s, func(tx *db.Tx) ([]Missing, error) {
		rows, err := tx.Query(`SELECT u.org_id, u.id, u.name, p.name, v.name, m.model, m.gone_at FROM upstream_model m
			JOIN upstream u ON u.id = m.upstream_id AND u.state = 'active'
			JOIN product_target t ON t.upstream_id = m.upstream_id AND t.upstream_model = m.model
			JOIN product_version v ON v.id = t.version_id AND v.share > 0
			JOIN product p ON p.id = v.product_id AND p.state = 'published'
			WHERE m.gone_at IS NOT NULL ORDER BY u.name, u.id, m.model, p.name, v.name`)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []Missing
		for rows.Next() {
			var m Missing
			var since int64
			if err := rows.Scan(&m.OrgID, &m.UpstreamID, &m.Upstream, &m.Product, &m.Version, &m.Model, &since); err != nil {
				return nil, err
			}
			m.Since = db.Time(since)
			out = append(out, m)
		}
		return out, rows.Err()
	})
}
