package vision

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/secret/sealed"
)

// Bounds of galleries.
const (
	maxGalleries = 100    // of one owner
	maxPersons   = 10_000 // of one gallery
)

// Gallery is a set of people whose faces are searched.
type Gallery struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Persons int64     `json:"persons"`
	Created time.Time `json:"created_at"`
}

// Consent is the statement without which nobody is enrolled.
type Consent struct {
	Statement string    `json:"statement"` // what was consented to, in words
	By        string    `json:"by"`        // who consented: the person, or who may for them
	At        time.Time `json:"at"`
}

// Person is someone in a gallery.
type Person struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	External string    `json:"external_id,omitempty"` // the owner's own
	Consent  Consent   `json:"consent"`
	Faces    int64     `json:"faces"`
	Created  time.Time `json:"created_at"`
}

// details is what is sealed of a person.
type details struct {
	Name     string  `json:"name"`
	External string  `json:"external_id,omitempty"`
	Consent  Consent `json:"consent"`
}

func detailsContext(person string) string { return "vision person " + person }
func vectorContext(person string) string  { return "vision face of " + person }

func noGallery() error {
	return problem.New(problem.NotFound, "vision.no_gallery", "there is no such gallery")
}

func noPerson() error {
	return problem.New(problem.NotFound, "vision.no_person", "there is no such person in the gallery")
}

func sealedAway(err error) error {
	return problem.New(problem.Conflict, "vision.sealed", "the gallery cannot be opened: the key that sealed it is not in the key ring any more").Because(err)
}

func (e *Engine) createGallery(tx *db.Tx, owner, name string) (Gallery, error) {
	var n int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM vision_gallery WHERE owner = $1`, owner).Scan(&n); err != nil {
		return Gallery{}, err
	}
	if n >= maxGalleries {
		return Gallery{}, problem.New(problem.Conflict, "vision.many_galleries", "there are %d galleries, as many as may be; delete one first", n)
	}
	g := Gallery{ID: db.NewID("gal", tx.Now()), Name: name, Created: tx.Now()}
	n, err := tx.Exec(`INSERT INTO vision_gallery (id, owner, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, name) DO NOTHING`,
		g.ID, owner, name, db.Micros(g.Created))
	if err == nil && n == 0 {
		err = problem.New(problem.Conflict, "vision.gallery_exists", "there is a gallery of this name already").WithField("name", "is taken")
	}
	return g, err
}

const galleryColumns = `g.id, g.name, g.created_at, (SELECT COUNT(*) FROM vision_person p WHERE p.gallery = g.id)`

func scanGallery(scan func(...any) error) (g Gallery, err error) {
	var created int64
	err = scan(&g.ID, &g.Name, &created, &g.Persons)
	g.Created = db.Time(created)
	return g, err
}

// galleries lists an owner's galleries after an id, one more than limit if there are more.
func (e *Engine) galleries(tx *db.Tx, owner, after string, limit int) (list []Gallery, err error) {
	rows, err := tx.Query(`SELECT `+galleryColumns+` FROM vision_gallery g WHERE g.owner = $1 AND g.id > $2 ORDER BY g.id LIMIT $3`, owner, after, int64(limit+1))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		g, err := scanGallery(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, rows.Err()
}

func (e *Engine) galleryOf(tx *db.Tx, owner, id, lock string) (Gallery, error) {
	g, err := scanGallery(tx.QueryRow(`SELECT `+galleryColumns+` FROM vision_gallery g WHERE g.owner = $1 AND g.id = $2`+lock, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		err = noGallery()
	}
	return g, err
}

func (e *Engine) deleteGallery(tx *db.Tx, owner, id string) error {
	if _, err := e.galleryOf(tx, owner, id, tx.Dialect().ForUpdate()); err != nil {
		return err
	}
	for _, text := range []string{
		`DELETE FROM vision_face WHERE gallery = $1`, `DELETE FROM vision_person WHERE gallery = $1`, `DELETE FROM vision_gallery WHERE id = $1`,
	} {
		if _, err := tx.Exec(text, id); err != nil {
			return err
		}
	}
	return nil
}

// enrol adds a person with the vectors of their faces. The gallery is locked, so that none is added to one that is
// being deleted.
func (e *Engine) enrol(tx *db.Tx, owner, gallery string, d details, vectors [][]float32) (Person, error) {
	g, err := e.galleryOf(tx, owner, gallery, tx.Dialect().ForUpdate())
	if err != nil {
		return Person{}, err
	}
	if g.Persons >= maxPersons {
		return Person{}, problem.New(problem.Conflict, "vision.gallery_full", "the gallery has %d persons, as many as may be", g.Persons)
	}
	p := Person{ID: db.NewID("per", tx.Now()), Name: d.Name, External: d.External, Consent: d.Consent, Faces: int64(len(vectors)), Created: tx.Now()}
	plain, err := json.Marshal(d)
	if err != nil {
		return Person{}, err
	}
	box := e.o.Sealer.SealBytes(plain, detailsContext(p.ID))
	_, err = tx.Exec(`INSERT INTO vision_person (id, gallery, owner, details, sealed_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		p.ID, gallery, owner, box, secret.KeyID(box), db.Micros(p.Created))
	if err != nil {
		return Person{}, err
	}
	for i, v := range vectors {
		box := e.o.Sealer.SealBytes(packVector(v), vectorContext(p.ID))
		_, err := tx.Exec(`INSERT INTO vision_face (person, face, gallery, owner, model, vector, sealed_by) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			p.ID, int64(i), gallery, owner, modelFaces, box, secret.KeyID(box))
		if err != nil {
			return Person{}, err
		}
	}
	return p, nil
}

const personColumns = `p.id, p.details, p.created_at, (SELECT COUNT(*) FROM vision_face f WHERE f.person = p.id)`

func (e *Engine) scanPerson(scan func(...any) error) (p Person, err error) {
	var created int64
	var box []byte
	if err := scan(&p.ID, &box, &created, &p.Faces); err != nil {
		return p, err
	}
	plain, err := e.o.Sealer.OpenBytes(box, detailsContext(p.ID))
	if err != nil {
		return p, sealedAway(err)
	}
	var d details
	err = json.Unmarshal(plain, &d)
	p.Name, p.External, p.Consent, p.Created = d.Name, d.External, d.Consent, db.Time(created)
	return p, err
}

func (e *Engine) persons(tx *db.Tx, owner, gallery, after string, limit int) (list []Person, err error) {
	if _, err := e.galleryOf(tx, owner, gallery, ""); err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT `+personColumns+` FROM vision_person p WHERE p.owner = $1 AND p.gallery = $2 AND p.id > $3 ORDER BY p.id LIMIT $4`,
		owner, gallery, after, int64(limit+1))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p, err := e.scanPerson(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

func (e *Engine) person(tx *db.Tx, owner, gallery, id string) (Person, error) {
	p, err := e.scanPerson(tx.QueryRow(`SELECT `+personColumns+` FROM vision_person p WHERE p.owner = $1 AND p.gallery = $2 AND p.id = $3`, owner, gallery, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		err = noPerson()
	}
	return p, err
}

func (e *Engine) deletePerson(tx *db.Tx, owner, gallery, id string) error {
	if _, err := tx.Exec(`DELETE FROM vision_face WHERE owner = $1 AND gallery = $2 AND person = $3`, owner, gallery, id); err != nil {
		return err
	}
	n, err := tx.Exec(`DELETE FROM vision_person WHERE owner = $1 AND gallery = $2 AND id = $3`, owner, gallery, id)
	if err == nil && n == 0 {
		err = noPerson()
	}
	return err
}

// match is a person with the likeness of the best of their faces.
type match struct {
	person string
	score  float64
}

// nearest compares a vector with all of a gallery and gives the n most alike persons from least on, best first.
// Nothing of the gallery is kept in memory between searches, so that who was deleted is found no more.
func (e *Engine) nearest(ctx context.Context, tx *db.Tx, owner, gallery string, v []float32, least float64, n int) ([]match, error) {
	if _, err := e.galleryOf(tx, owner, gallery, ""); err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT person, vector FROM vision_face WHERE owner = $1 AND gallery = $2 AND model = $3`, owner, gallery, modelFaces)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	best := map[string]float64{}
	for rows.Next() {
		var person string
		var box []byte
		if err := rows.Scan(&person, &box); err != nil {
			return nil, err
		}
		plain, err := e.o.Sealer.OpenBytes(box, vectorContext(person))
		if err != nil {
			return nil, sealedAway(err)
		}
		score := cosine(v, unpackVector(plain))
		if old, ok := best[person]; score >= least && (!ok || score > old) {
			best[person] = score
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	var list []match
	for p, s := range best {
		list = append(list, match{p, s})
	}
	slices.SortFunc(list, func(a, b match) int {
		switch {
		case a.score > b.score || a.score == b.score && a.person < b.person:
			return -1
		}
		return 1
	})
	return list[:min(n, len(list))], rows.Err()
}

func packVector(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func unpackVector(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// sealedTables are where sealed values are.
func sealedTables() []sealed.Table {
	return []sealed.Table{
		{Name: "vision_person", ID: "id", Values: []string{"details"}, Context: func(id string, _ int64, _ string) string { return detailsContext(id) }},
		{Name: "vision_face", ID: "person", N: "face", Values: []string{"vector"}, Context: func(person string, _ int64, _ string) string { return vectorContext(person) }},
	}
}

// SealedTx counts persons and faces by the id of the key that sealed them.
func (e *Engine) SealedTx(tx *db.Tx) (map[string]int64, error) {
	return sealed.CountTx(tx, sealedTables()...)
}

// Reseal seals anew what older keys of the ring sealed, and returns how many persons and faces that were.
func (e *Engine) Reseal(ctx context.Context) (total int, err error) {
	return sealed.Reseal(ctx, e.o.DB, e.o.Sealer, sealedTables()...)
}
