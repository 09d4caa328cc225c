package text

import (
	"container/list"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "text", FS: migrations}

// Limits of an owner's classifiers.
const (
	maxClassifiers = 50
	maxVersions    = 20
	maxStored      = 256 << 20 // bytes of models
	maxCached      = 32 << 20  // weights of loaded models, of all owners: 128 MB
)

// ClassifierInfo tells of an owner's classifier.
type ClassifierInfo struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Live        int64     `json:"live_version,omitempty"` // the version that answers
	Latest      int64     `json:"latest_version,omitempty"`
	Created     time.Time `json:"created_at"`
	Updated     time.Time `json:"updated_at"`

	id string
}

// Version is one training of a classifier.
type Version struct {
	Classifier string      `json:"classifier"`
	Version    int64       `json:"version"`
	Live       bool        `json:"live"`
	Examples   int64       `json:"examples"`
	Labels     int64       `json:"labels"`
	Seed       int64       `json:"seed"`
	Size       int64       `json:"size"` // bytes of the model
	Created    time.Time   `json:"created_at"`
	Evaluation *Evaluation `json:"evaluation,omitempty"`
}

var classifierName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// store keeps classifiers. Every statement names the owner.
type store struct {
	db *db.DB

	mu     sync.Mutex
	recent list.List // of *loaded, the latest first
	byKey  map[modelKey]*list.Element
	cells  int
}

type modelKey struct {
	id      string
	version int64
}

type loaded struct {
	key   modelKey
	model *Classifier
}

func newStore(d *db.DB) *store { return &store{db: d, byKey: map[modelKey]*list.Element{}} }

const infoColumns = `id, name, description, live, latest, created_at, updated_at`

func scanInfo(scan func(...any) error) (c ClassifierInfo, err error) {
	var created, updated int64
	err = scan(&c.id, &c.Name, &c.Description, &c.Live, &c.Latest, &created, &updated)
	c.Created, c.Updated = db.Time(created), db.Time(updated)
	return c, err
}

func find(tx *db.Tx, owner, name, lock string) (ClassifierInfo, error) {
	row := tx.QueryRow(`SELECT `+infoColumns+` FROM text_classifier WHERE owner = $1 AND name = $2`+lock, owner, name)
	c, err := scanInfo(row.Scan)
	if errors.Is(err, db.ErrNoRows) {
		return c, problem.New(problem.NotFound, "text.no_classifier", "there is no classifier %q; list yours with GET /v1/text/classifiers", name)
	}
	return c, err
}

func (s *store) get(ctx context.Context, owner, name string) (c ClassifierInfo, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		c, err = find(tx, owner, name, "")
		return err
	})
	return c, err
}

func (s *store) list(ctx context.Context, owner string) ([]ClassifierInfo, error) {
	var all []ClassifierInfo
	err := s.db.View(ctx, func(tx *db.Tx) error {
		all = []ClassifierInfo{}
		rows, err := tx.Query(`SELECT `+infoColumns+` FROM text_classifier WHERE owner = $1 ORDER BY name`, owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scanInfo(rows.Scan)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		return rows.Err()
	})
	return all, err
}

func (s *store) create(ctx context.Context, owner, name, description string) (c ClassifierInfo, err error) {
	if !classifierName.MatchString(name) {
		return c, problem.New(problem.Unprocessable, "text.bad_name", "a classifier's name is 1 to 64 of a-z, 0-9, dot, hyphen and underscore, and starts with a letter or digit").
			WithField("name", "is not a good name")
	}
	if len(description) > 2000 {
		return c, problem.New(problem.Unprocessable, "text.long_description", "a description has at most 2000 bytes").WithField("description", "is too long")
	}
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM text_classifier WHERE owner = $1`, owner).Scan(&n); err != nil {
			return err
		}
		if n >= maxClassifiers {
			return problem.New(problem.Unprocessable, "text.too_many_classifiers", "there can be at most %d classifiers; delete one first", maxClassifiers)
		}
		now := tx.Now()
		c = ClassifierInfo{Name: name, Description: description, Created: now, Updated: now, id: db.NewID("cls", now)}
		n, err := tx.Exec(`INSERT INTO text_classifier (id, owner, name, description, live, latest, created_at, updated_at) VALUES ($1, $2, $3, $4, 0, 0, $5, $6)
			ON CONFLICT (owner, name) DO NOTHING`, c.id, owner, name, description, db.Micros(now), db.Micros(now))
		if err == nil && n == 0 {
			return problem.New(problem.Conflict, "text.classifier_exists", "there is a classifier %q already; train a new version of it", name)
		}
		return err
	})
	return c, err
}

// edit changes the description, or which version is live, where these are given.
func (s *store) edit(ctx context.Context, owner, name string, description *string, live *int64) (c ClassifierInfo, err error) {
	if description != nil && len(*description) > 2000 {
		return c, problem.New(problem.Unprocessable, "text.long_description", "a description has at most 2000 bytes").WithField("description", "is too long")
	}
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		if c, err = find(tx, owner, name, tx.Dialect().ForUpdate()); err != nil {
			return err
		}
		if description != nil {
			c.Description = *description
		}
		if live != nil && *live != 0 {
			if err := exists(tx, c, *live); err != nil {
				return err
			}
		}
		if live != nil {
			c.Live = *live
		}
		c.Updated = tx.Now()
		_, err := tx.Exec(`UPDATE text_classifier SET description = $1, live = $2, updated_at = $3 WHERE id = $4 AND owner = $5`,
			c.Description, c.Live, db.Micros(c.Updated), c.id, owner)
		return err
	})
	return c, err
}

func noVersion(name string, version int64) error {
	return problem.New(problem.NotFound, "text.no_version", "the classifier %q has no version %d", name, version)
}

func exists(tx *db.Tx, c ClassifierInfo, version int64) error {
	var n int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM text_classifier_version WHERE classifier = $1 AND version = $2`, c.id, version).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return noVersion(c.Name, version)
	}
	return nil
}

func (s *store) drop(ctx context.Context, owner, name string) error {
	return s.db.Update(ctx, func(tx *db.Tx) error {
		c, err := find(tx, owner, name, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM text_classifier_version WHERE classifier = $1 AND owner = $2`, c.id, owner); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM text_classifier WHERE id = $1 AND owner = $2`, c.id, owner)
		return err
	})
}

// room refuses what would pass the owner's limits. size is what is to be added.
func room(tx *db.Tx, owner string, c ClassifierInfo, size int64) error {
	var mine, bytes int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM text_classifier_version WHERE classifier = $1`, c.id).Scan(&mine); err != nil {
		return err
	}
	if mine >= maxVersions {
		return problem.New(problem.Unprocessable, "text.too_many_versions", "a classifier keeps at most %d versions; delete one first", maxVersions)
	}
	if err := tx.QueryRow(`SELECT COALESCE(SUM(size), 0) FROM text_classifier_version WHERE owner = $1`, owner).Scan(&bytes); err != nil {
		return err
	}
	if bytes+size > maxStored {
		return problem.New(problem.Unprocessable, "text.storage_full", "your models take %d MB, and %d MB is the most; delete old versions first", bytes>>20, maxStored>>20)
	}
	return nil
}

// checkRoom tells before a training whether its result could be kept.
func (s *store) checkRoom(ctx context.Context, owner, name string) error {
	return s.db.View(ctx, func(tx *db.Tx) error {
		c, err := find(tx, owner, name, "")
		if err != nil {
			return err
		}
		return room(tx, owner, c, 0)
	})
}

// add keeps a model as the classifier's next version; live makes it the one that answers.
func (s *store) add(ctx context.Context, owner, name string, m *Classifier, e *Evaluation, examples int, seed int64, live bool) (v Version, err error) {
	data, err := m.MarshalBinary()
	if err != nil {
		return v, err
	}
	report, err := json.Marshal(e)
	if err != nil {
		return v, err
	}
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		c, err := find(tx, owner, name, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if err := room(tx, owner, c, int64(len(data))); err != nil {
			return err
		}
		now := tx.Now()
		v = Version{Classifier: name, Version: c.Latest + 1, Examples: int64(examples), Labels: int64(len(m.labels)), Seed: seed,
			Size: int64(len(data)), Created: now, Evaluation: e, Live: live || c.Live == 0}
		if v.Live {
			c.Live = v.Version
		}
		if _, err := tx.Exec(`INSERT INTO text_classifier_version (classifier, version, owner, examples, labels, seed, report, size, model, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, c.id, v.Version, owner, v.Examples, v.Labels, seed, string(report), v.Size, data, db.Micros(now)); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE text_classifier SET live = $1, latest = $2, updated_at = $3 WHERE id = $4`, c.Live, v.Version, db.Micros(now), c.id)
		return err
	})
	return v, err
}

const versionColumns = `version, examples, labels, seed, report, size, created_at`

func scanVersion(c ClassifierInfo, scan func(...any) error) (v Version, err error) {
	var report string
	var created int64
	if err := scan(&v.Version, &v.Examples, &v.Labels, &v.Seed, &report, &v.Size, &created); err != nil {
		return v, err
	}
	v.Classifier, v.Live, v.Created = c.Name, v.Version == c.Live, db.Time(created)
	return v, json.Unmarshal([]byte(report), &v.Evaluation)
}

// versions lists a classifier's versions, the latest first; each without the details of its evaluation.
func (s *store) versions(ctx context.Context, owner, name string) ([]Version, error) {
	var all []Version
	err := s.db.View(ctx, func(tx *db.Tx) error {
		all = []Version{}
		c, err := find(tx, owner, name, "")
		if err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT `+versionColumns+` FROM text_classifier_version WHERE classifier = $1 AND owner = $2 ORDER BY version DESC`, c.id, owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scanVersion(c, rows.Scan)
			if err != nil {
				return err
			}
			v.Evaluation.PerLabel, v.Evaluation.Confusion = nil, nil
			all = append(all, v)
		}
		return rows.Err()
	})
	return all, err
}

func (s *store) version(ctx context.Context, owner, name string, number int64) (v Version, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		c, err := find(tx, owner, name, "")
		if err != nil {
			return err
		}
		row := tx.QueryRow(`SELECT `+versionColumns+` FROM text_classifier_version WHERE classifier = $1 AND version = $2 AND owner = $3`, c.id, number, owner)
		if v, err = scanVersion(c, row.Scan); errors.Is(err, db.ErrNoRows) {
			return noVersion(name, number)
		}
		return err
	})
	return v, err
}

// dropVersion deletes a version that is not live.
func (s *store) dropVersion(ctx context.Context, owner, name string, number int64) error {
	return s.db.Update(ctx, func(tx *db.Tx) error {
		c, err := find(tx, owner, name, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if c.Live == number && number != 0 {
			return problem.New(problem.Conflict, "text.version_live", "version %d answers; make another live first", number)
		}
		n, err := tx.Exec(`DELETE FROM text_classifier_version WHERE classifier = $1 AND version = $2 AND owner = $3`, c.id, number, owner)
		if err == nil && n == 0 {
			return noVersion(name, number)
		}
		return err
	})
}

// open returns the model of a version; 0 is the live one.
func (s *store) open(ctx context.Context, owner, name string, number int64) (*Classifier, int64, error) {
	var c ClassifierInfo
	var data []byte
	var m *Classifier
	err := s.db.View(ctx, func(tx *db.Tx) (err error) {
		if c, err = find(tx, owner, name, ""); err != nil {
			return err
		}
		if number == 0 {
			number = c.Live
		}
		if number == 0 {
			return problem.New(problem.Conflict, "text.not_trained", "the classifier %q has no live version; train it first", name)
		}
		if m = s.cached(modelKey{c.id, number}); m != nil {
			return exists(tx, c, number)
		}
		err = tx.QueryRow(`SELECT model FROM text_classifier_version WHERE classifier = $1 AND version = $2 AND owner = $3`, c.id, number, owner).Scan(&data)
		if errors.Is(err, db.ErrNoRows) {
			return noVersion(name, number)
		}
		return err
	})
	if err != nil || m != nil {
		return m, number, err
	}
	if m, err = ReadClassifier(data); err != nil {
		return nil, 0, err
	}
	s.cache(modelKey{c.id, number}, m)
	return m, number, nil
}

func (s *store) cached(k modelKey) *Classifier {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[k]
	if e == nil {
		return nil
	}
	s.recent.MoveToFront(e)
	return e.Value.(*loaded).model
}

func (s *store) cache(k modelKey, m *Classifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[k] != nil {
		return
	}
	s.byKey[k] = s.recent.PushFront(&loaded{k, m})
	s.cells += m.cells()
	for s.cells > maxCached && s.recent.Len() > 1 {
		old := s.recent.Remove(s.recent.Back()).(*loaded)
		delete(s.byKey, old.key)
		s.cells -= old.model.cells()
	}
}
