package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
	"github.com/tollgate-io/tollgate/internal/idem"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/record"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Vault is everything that is sealed at rest, and what it is sealed with.
type Vault struct {
	File    string
	db      *db.DB
	sealer  *secret.Sealer
	catalog *catalog.Store
	idem    *idem.Store
	record  *record.Store
	engines []sealing

	mu   sync.Mutex
	seen os.FileInfo // guarded by mu: the file as it was when it was last read
}

// OpenVault opens the vault of a configuration without the rest of the product, for maintenance. The
// caller calls close. A server may run beside it.
func OpenVault(ctx context.Context, c *Config) (v *Vault, closeDB func() error, err error) {
	sealer, err := secret.Load(c.SealerKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, problem.New(problem.NotFound, "server.no_key_file", "there is no key file %s: is this the data directory of a server that has run?", c.SealerKey)
	}
	if err != nil {
		return nil, nil, err
	}
	if path, ok := strings.CutPrefix(c.Database, "sqlite:"); ok {
		// An empty database would have nothing sealed, and its keys be dropped.
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, problem.New(problem.NotFound, "server.no_database", "there is no database %s: where the platform has another one, name its configuration with -config", path)
		}
	}
	d, err := db.Open(ctx, c.Database, db.Options{})
	if err != nil {
		return nil, nil, err
	}
	if err := d.Migrate(ctx, migrations()...); err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	if v, err = newVault(c.SealerKey, d, sealer, catalog.New(d, sealer), idem.NewStore(sealer), record.New(d, sealer)); err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return v, d.Close, nil
}

// sealing is an engine that seals what its owners keep there.
type sealing interface {
	SealedTx(*db.Tx) (map[string]int64, error)
	Reseal(context.Context) (int, error)
}

func newVault(file string, d *db.DB, s *secret.Sealer, c *catalog.Store, i *idem.Store, r *record.Store) (*Vault, error) {
	v := &Vault{File: file, db: d, sealer: s, catalog: c, idem: i, record: r}
	desk, err := assist.New(assist.Options{DB: d, Sealer: s})
	if err != nil {
		return nil, err
	}
	galleries, err := vision.New(vision.Options{DB: d, Sealer: s})
	if err != nil {
		return nil, err
	}
	glossaries, err := translate.New(translate.Options{DB: d, Sealer: s})
	v.engines = []sealing{desk, galleries, glossaries}
	return v, err
}

// Status counts what is sealed by which key.
func (v *Vault) Status(ctx context.Context) (api.Sealing, error) {
	st := api.Sealing{File: v.File}
	ring := v.sealer.KeyIDs()
	err := v.db.View(ctx, func(tx *db.Tx) error {
		keys := map[string]*api.SealedBy{}
		type part struct {
			count func(*db.Tx) (map[string]int64, error)
			to    func(*api.SealedBy) *int64
		}
		parts := []part{
			{v.catalog.SealedTx, func(k *api.SealedBy) *int64 { return &k.Credentials }},
			{v.record.SealedTx, func(k *api.SealedBy) *int64 { return &k.Recorded }},
			{idem.SealedTx, func(k *api.SealedBy) *int64 { return &k.Answers }},
		}
		for _, e := range v.engines {
			parts = append(parts, part{e.SealedTx, func(k *api.SealedBy) *int64 { return &k.Engines }})
		}
		for _, part := range parts {
			counts, err := part.count(tx)
			if err != nil {
				return err
			}
			for id, n := range counts {
				if keys[id] == nil {
					keys[id] = &api.SealedBy{ID: id, State: api.KeyLost}
				}
				*part.to(keys[id]) += n
			}
		}
		st.Keys, st.Old, st.Lost = nil, 0, 0
		for i, id := range ring {
			k := api.SealedBy{ID: id}
			if keys[id] != nil {
				k = *keys[id]
				delete(keys, id)
			}
			if k.State = api.KeyOpening; i == 0 {
				k.State = api.KeySealing
			} else {
				st.Old += k.Total()
			}
			st.Keys = append(st.Keys, k)
		}
		for _, k := range keys {
			st.Keys = append(st.Keys, *k)
			st.Lost += k.Total()
		}
		slices.SortFunc(st.Keys[len(ring):], func(a, b api.SealedBy) int { return int(b.Total() - a.Total()) })
		return nil
	})
	return st, err
}

// Reseal seals with the first key of the ring what an older one has sealed, and returns how many values
// that were. An upstream's credential that cannot be opened stops it: it names the credential.
func (v *Vault) Reseal(ctx context.Context) (int, error) {
	n, err := v.catalog.Reseal(ctx)
	if err != nil {
		return n, err
	}
	m, err := v.record.Reseal(ctx)
	if n += m; err != nil {
		return n, err
	}
	for _, e := range v.engines {
		m, err := e.Reseal(ctx)
		if n += m; err != nil {
			return n, err
		}
	}
	m, err = v.idem.Reseal(ctx, v.db)
	return n + m, err
}

// Rotate puts a new key first in the file. Running servers take it up within seconds; see [Vault.Reload].
func (v *Vault) Rotate() error {
	next, err := secret.Rotate(v.File)
	if err == nil {
		v.sealer.Replace(next)
	}
	return err
}

// Drop removes the old keys from the file. It is refused while something is sealed with them.
func (v *Vault) Drop(ctx context.Context) error {
	st, err := v.Status(ctx)
	if err != nil {
		return err
	}
	if st.Old > 0 {
		return problem.New(problem.Conflict, "server.old_keys_used", "old keys are still in use (values: %d): run tollgate sealer reseal first", st.Old)
	}
	next, err := secret.Drop(v.File)
	if err == nil {
		v.sealer.Replace(next)
	}
	return err
}

// warnLost tells the operator when the key file cannot open what the database holds.
func (a *App) warnLost(ctx context.Context) error {
	st, err := a.Vault.Status(ctx)
	if err != nil || st.Lost == 0 {
		return err
	}
	var ids []string
	for _, k := range st.Keys {
		if k.State == api.KeyLost {
			ids = append(ids, k.ID)
		}
	}
	a.Log.Warn("the sealer key was lost: values in the database were sealed with keys that are not in the key file. "+
		"Put the file's copy back and restart; without one, enter the upstreams' credentials again; what the engines keep (glossaries, memories, knowledge, galleries) is lost. Balances, keys and usage are not concerned",
		"file", st.File, "missing_keys", ids, "values", st.Lost)
	return nil
}

// keyFileEvery is how often a process looks whether the key file has changed.
const keyFileEvery = 2 * time.Second

// Reload takes up the key file if it has changed since the last time, so that a rotation needs no restart.
func (v *Vault) Reload(ctx context.Context, log *slog.Logger) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := os.Stat(v.File)
	if err != nil {
		if v.seen != nil {
			log.Warn("the sealer's key file cannot be read; its keys stay in use until the next start", "file", v.File, "error", err)
		}
		v.seen = nil
		return nil // said once
	}
	if v.seen != nil && info.ModTime().Equal(v.seen.ModTime()) && os.SameFile(info, v.seen) && info.Size() == v.seen.Size() {
		return nil
	}
	next, err := secret.Load(v.File)
	if err != nil {
		return fmt.Errorf("the sealer's key file has changed and cannot be used; the keys it had stay in use: %w", err)
	}
	if !slices.Equal(next.KeyIDs(), v.sealer.KeyIDs()) {
		v.sealer.Replace(next)
		log.Info("the sealer's keys were read again", "file", v.File, "keys", next.KeyIDs())
		if err := v.catalog.Reread(ctx); err != nil { // credentials that could not be opened may be now
			return err
		}
	}
	v.seen = info
	return nil
}
