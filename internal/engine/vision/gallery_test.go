package vision

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func tables() []db.Migrations { return []db.Migrations{Migrations} }

// manage makes a call of a gallery's route.
func manage(t testing.TB, name, owner string, body any, params map[string]string) *engine.Request {
	r := request(t, "vision.galleries."+name, body)
	r.Owner = owner
	maps.Copy(r.Params, params)
	return r
}

// vector is a random one of length 1.
func vector(seed uint64) []float32 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, 256)
	norm := 0.0
	for i := range v {
		v[i] = float32(rnd.NormFloat64())
		norm += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(norm))
	}
	return v
}

func consentNow() map[string]any {
	return map[string]any{"statement": "I agree", "by": "Li Wei", "at": time.Now().Add(-time.Hour).Format(time.RFC3339)}
}

// put enrols a person by vectors, without a picture.
func put(t testing.TB, e *Engine, owner, gallery, name string, vectors ...[]float32) Person {
	t.Helper()
	var p Person
	err := e.o.DB.Update(t.Context(), func(tx *db.Tx) (err error) {
		p, err = e.enrol(tx, owner, gallery, details{Name: name, Consent: Consent{"I agree", name, time.Now().UTC()}}, vectors)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func search(t testing.TB, e *Engine, owner, gallery string, v []float32) (list []match, err error) {
	err = e.o.DB.View(t.Context(), func(tx *db.Tx) (err error) {
		list, err = e.nearest(t.Context(), tx, owner, gallery, v, sameFace, 5)
		return err
	})
	return list, err
}

func TestGalleries(t *testing.T) {
	dbtest.Each(t, tables(), func(t *testing.T, d *db.DB) {
		e := newEngine(t, withGalleries(d))
		var g, h Gallery
		a, err := call(t, e, manage(t, "create", "org_a", map[string]any{"name": " Door 门 "}, nil), &g)
		if err != nil || a.Status != 201 || g.Name != "Door 门" || !strings.HasPrefix(g.ID, "gal_") {
			t.Fatal(err, a.Status, g)
		}
		_, err = call(t, e, manage(t, "create", "org_a", map[string]any{"name": "Door 门"}, nil), nil)
		refused(t, err, problem.Conflict, "vision.gallery_exists")
		if _, err = call(t, e, manage(t, "create", "org_b", map[string]any{"name": "Door 门"}, nil), &h); err != nil {
			t.Fatal(err)
		}
		for _, body := range []any{map[string]any{}, map[string]any{"name": ""}, map[string]any{"name": strings.Repeat("x", 101)}, map[string]any{"name": "a\x00b"}, map[string]any{"name": 7}} {
			_, err = call(t, e, manage(t, "create", "org_a", body, nil), nil)
			refused(t, err, problem.Invalid, "engine.invalid")
		}
		ann, ben := vector(1), vector(2)
		p := put(t, e, "org_a", g.ID, "Ann", ann)
		put(t, e, "org_a", g.ID, "Ben", ben, vector(3))
		put(t, e, "org_b", h.ID, "Ann of b", ann)

		var list listed[Gallery]
		if _, err := call(t, e, manage(t, "list", "org_a", nil, nil), &list); err != nil || len(list.Data) != 1 || list.HasMore || list.Data[0].Persons != 2 {
			t.Errorf("%+v, %v", list, err)
		}
		var people listed[Person]
		r := manage(t, "persons.list", "org_a", nil, map[string]string{"gallery": g.ID})
		r.Query.Set("limit", "1")
		if _, err := call(t, e, r, &people); err != nil || len(people.Data) != 1 || !people.HasMore || people.Data[0].Name != "Ann" || people.Data[0].Consent.Statement != "I agree" {
			t.Fatalf("%+v, %v", people, err)
		}
		r.Query.Set("after", people.Data[0].ID)
		if _, err := call(t, e, r, &people); err != nil || len(people.Data) != 1 || people.HasMore || people.Data[0].Faces != 2 {
			t.Errorf("%+v, %v", people, err)
		}
		for _, limit := range []string{"0", "201", "x"} {
			r.Query.Set("limit", limit)
			_, err := call(t, e, r, nil)
			refused(t, err, problem.Invalid, "engine.invalid")
		}
		found, err := search(t, e, "org_a", g.ID, ann)
		if err != nil || len(found) != 1 || found[0].person != p.ID || found[0].score < 0.999 {
			t.Errorf("%+v, %v", found, err)
		}
		owners(t, e, g.ID, p.ID, ann)

		if _, err := call(t, e, manage(t, "persons.delete", "org_a", nil, map[string]string{"gallery": g.ID, "person": p.ID}), nil); err != nil {
			t.Fatal(err)
		}
		if found, err := search(t, e, "org_a", g.ID, ann); err != nil || len(found) != 0 {
			t.Errorf("a deleted person is found: %+v, %v", found, err)
		}
		_, err = call(t, e, manage(t, "persons.get", "org_a", nil, map[string]string{"gallery": g.ID, "person": p.ID}), nil)
		refused(t, err, problem.NotFound, "vision.no_person")
		if _, err := call(t, e, manage(t, "delete", "org_a", nil, map[string]string{"gallery": g.ID}), nil); err != nil {
			t.Fatal(err)
		}
		for table, want := range map[string]int64{"vision_gallery": 1, "vision_person": 1, "vision_face": 1} { // of org_b
			if n := count(t, d, table); n != want {
				t.Errorf("%s has %d rows", table, n)
			}
		}
	})
}

func count(t testing.TB, d *db.DB, table string) (n int64) {
	t.Helper()
	if err := d.View(t.Context(), func(tx *db.Tx) error { return tx.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// owners checks that org_b, and nobody at all, cannot reach what is org_a's.
func owners(t *testing.T, e *Engine, gallery, person string, v []float32) {
	t.Helper()
	for name, id := range map[string]string{
		"get": "vision.no_gallery", "delete": "vision.no_gallery", "persons.list": "vision.no_gallery",
		"persons.get": "vision.no_person", "persons.delete": "vision.no_person",
	} {
		params := map[string]string{"gallery": gallery, "person": person}
		_, err := call(t, e, manage(t, name, "org_b", nil, params), nil)
		refused(t, err, problem.NotFound, id)
		_, err = call(t, e, manage(t, name, "", nil, params), nil)
		refused(t, err, problem.Forbidden, "vision.no_galleries")
		_, err = call(t, e, manage(t, name, "org_a", nil, map[string]string{"gallery": "x\x00", "person": "y"}), nil)
		refused(t, err, problem.NotFound, "vision.no_gallery")
	}
	_, err := search(t, e, "org_b", gallery, v)
	refused(t, err, problem.NotFound, "vision.no_gallery")
	err = e.o.DB.Update(t.Context(), func(tx *db.Tx) error {
		_, err := e.enrol(tx, "org_b", gallery, details{}, [][]float32{v})
		return err
	})
	refused(t, err, problem.NotFound, "vision.no_gallery")
}

func TestConsent(t *testing.T) {
	e := newEngine(t, withGalleries(dbtest.SQLite(t, tables())))
	image := b64(pngOf(t, scene(50, 50)))
	with := func(change map[string]any) map[string]any {
		c := consentNow()
		maps.Copy(c, change)
		return c
	}
	for name, consent := range map[string]any{
		"none": nil, "empty": map[string]any{}, "no statement": with(map[string]any{"statement": "  "}), "nobody": with(map[string]any{"by": ""}),
		"no time": with(map[string]any{"at": ""}), "no real time": with(map[string]any{"at": "yesterday"}),
		"in the future": with(map[string]any{"at": time.Now().Add(time.Hour).Format(time.RFC3339)}),
	} {
		body := map[string]any{"name": "Li Wei", "image": image}
		if consent != nil {
			body["consent"] = consent
		}
		_, err := call(t, e, manage(t, "persons.create", "org_a", body, map[string]string{"gallery": "gal_x"}), nil)
		if p := problem.As(err); p.ID != "vision.no_consent" || p.Kind != problem.Unprocessable {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "Li Wei", "image": image, "consent": "yes"}, map[string]string{"gallery": "gal_x"}), nil)
	refused(t, err, problem.Invalid, "engine.invalid")
	_, err = call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "Li Wei", "consent": consentNow()}, map[string]string{"gallery": "gal_x"}), nil)
	refused(t, err, problem.Invalid, "vision.no_image")
	_, err = call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "Li Wei", "image": image, "consent": consentNow()}, map[string]string{"gallery": "gal_x"}), nil)
	refused(t, err, problem.Unavailable, "engine.missing")
}

// TestSealed checks that nothing of a person is readable in the database, and that keys can be rotated.
func TestSealed(t *testing.T) {
	dbtest.Each(t, tables(), func(t *testing.T, d *db.DB) {
		path := filepath.Join(t.TempDir(), "key")
		sealer, _, err := secret.LoadOrCreate(path)
		if err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, Options{DB: d, Sealer: sealer})
		var g Gallery
		if _, err := call(t, e, manage(t, "create", "org_a", map[string]any{"name": "g"}, nil), &g); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			put(t, e, "org_a", g.ID, "Secret Name", vector(uint64(i)))
		}
		var blob []byte
		if err := d.View(t.Context(), func(tx *db.Tx) error { return tx.QueryRow(`SELECT details FROM vision_person LIMIT 1`).Scan(&blob) }); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(blob), "Secret") {
			t.Error("a name is readable")
		}
		next, err := secret.Rotate(path)
		if err != nil {
			t.Fatal(err)
		}
		sealer.Replace(next)
		if n, err := e.Reseal(t.Context()); n != 6 || err != nil {
			t.Errorf("%d sealed anew, %v", n, err)
		}
		if n, err := e.Reseal(t.Context()); n != 0 || err != nil {
			t.Errorf("%d sealed anew again, %v", n, err)
		}
		var counts map[string]int64
		if err := d.View(t.Context(), func(tx *db.Tx) (err error) { counts, err = e.SealedTx(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if len(counts) != 1 || counts[sealer.KeyIDs()[0]] != 6 {
			t.Error(counts)
		}
		if next, err = secret.Drop(path); err != nil {
			t.Fatal(err)
		}
		sealer.Replace(next)
		if found, err := search(t, e, "org_a", g.ID, vector(1)); err != nil || len(found) != 1 {
			t.Errorf("%+v, %v", found, err)
		}
		other, err := secret.Parse(secret.Generate().Reveal())
		if err != nil {
			t.Fatal(err)
		}
		sealer.Replace(other)
		_, err = search(t, e, "org_a", g.ID, vector(1))
		refused(t, err, problem.Conflict, "vision.sealed")
	})
}

func TestGalleryLimits(t *testing.T) {
	e := newEngine(t, withGalleries(dbtest.SQLite(t, tables())))
	for i := range maxGalleries {
		if _, err := call(t, e, manage(t, "create", "org_a", map[string]any{"name": fmt.Sprint(i)}, nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := call(t, e, manage(t, "create", "org_a", map[string]any{"name": "one more"}, nil), nil)
	refused(t, err, problem.Conflict, "vision.many_galleries")
	if _, err := call(t, e, manage(t, "create", "org_b", map[string]any{"name": "one more"}, nil), nil); err != nil {
		t.Error(err)
	}
	if _, err := New(Options{DB: e.o.DB}); err == nil {
		t.Error("an engine with galleries that are not sealed")
	}
}

// TestFaceGallery goes through with real faces: enrol, find again, tell from others, delete.
func TestFaceGallery(t *testing.T) {
	e := neural(t, withGalleries(dbtest.SQLite(t, tables())))
	ev := &evaluation{ctx: t.Context(), e: e, o: EvaluateOptions{Data: e.path("samples")}}
	sheet, err := ev.photo(photoMatch)
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("the engines directory has no photographs")
	}
	if err != nil {
		t.Fatal(err)
	}
	tile := func(column, row int) string {
		x, y := int(float64(column)*106.67), int(283+float64(row)*112.7)
		return b64(pngOf(t, crop(sheet, image.Rect(x, y, x+105, y+108))))
	}
	var g Gallery
	if _, err := call(t, e, manage(t, "create", "org_a", map[string]any{"name": "g"}, nil), &g); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{"gallery": g.ID}
	var man, woman Person
	a, err := call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "man", "consent": consentNow(), "images": []string{tile(0, 0), tile(1, 0)}}, at), &man)
	if err != nil || a.Status != 201 || a.Total() != 2000 || man.Faces != 2 {
		t.Fatal(err, a.Status, a.Total(), man)
	}
	if _, err := call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "woman", "consent": consentNow(), "image": tile(1, 4)}, at), &woman); err != nil {
		t.Fatal(err)
	}
	type hits struct {
		Matches []struct {
			Person Person
			Score  float64
		}
	}
	var got hits
	if _, err := call(t, e, manage(t, "search", "org_a", map[string]any{"image": tile(4, 0)}, at), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Matches) != 1 || got.Matches[0].Person.ID != man.ID || got.Matches[0].Score < 0.5 {
		t.Errorf("%+v", got)
	}
	got = hits{}
	if _, err := call(t, e, manage(t, "search", "org_a", map[string]any{"image": tile(3, 5)}, at), &got); err != nil || len(got.Matches) != 0 {
		t.Errorf("a stranger: %+v, %v", got, err)
	}
	_, err = call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "two", "consent": consentNow(), "images": []string{tile(0, 0), tile(1, 4)}}, at), nil)
	refused(t, err, problem.Unprocessable, "vision.other_person")
	two := b64(pngOf(t, crop(sheet, image.Rect(0, 283, 213, 391))))
	_, err = call(t, e, manage(t, "persons.create", "org_a", map[string]any{"name": "two", "consent": consentNow(), "image": two}, at), nil)
	refused(t, err, problem.Unprocessable, "vision.many_faces")
	_, err = call(t, e, manage(t, "search", "org_a", map[string]any{"image": b64(pngOf(t, scene(100, 100)))}, at), nil)
	refused(t, err, problem.Unprocessable, "vision.no_face")
	if _, err := call(t, e, manage(t, "persons.delete", "org_a", nil, map[string]string{"gallery": g.ID, "person": man.ID}), nil); err != nil {
		t.Fatal(err)
	}
	got = hits{}
	if _, err := call(t, e, manage(t, "search", "org_a", map[string]any{"image": tile(4, 0)}, at), &got); err != nil || len(got.Matches) != 0 {
		t.Errorf("deleted: %+v, %v", got, err)
	}
}

func BenchmarkSearch(b *testing.B) {
	e := newEngine(b, withGalleries(dbtest.SQLite(b, tables())))
	var g Gallery
	if _, err := call(b, e, manage(b, "create", "org_a", map[string]any{"name": "g"}, nil), &g); err != nil {
		b.Fatal(err)
	}
	err := e.o.DB.Update(context.Background(), func(tx *db.Tx) error {
		for i := range 1000 {
			if _, err := e.enrol(tx, "org_a", g.ID, details{Name: "x"}, [][]float32{vector(uint64(i))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := search(b, e, "org_a", g.ID, vector(77)); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}
