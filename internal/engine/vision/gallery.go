package vision

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// gallery gives the handler of a gallery's route, nil for another one.
func (e *Engine) gallery(route string) handler {
	h, ok := map[string]handler{
		"list": e.serveGalleries, "create": e.serveCreateGallery, "get": e.serveGallery, "delete": e.serveDeleteGallery,
		"persons.create": e.serveEnrol, "persons.list": e.servePersons, "persons.get": e.servePerson, "persons.delete": e.serveDeletePerson,
		"search": e.serveSearch,
	}[strings.TrimPrefix(route, "vision.galleries.")]
	if !ok {
		return nil
	}
	return func(ctx context.Context, r *engine.Request, w engine.Writer) error {
		if e.o.DB == nil || r.Owner == "" {
			return problem.New(problem.Forbidden, "vision.no_galleries", "galleries belong to an organisation: call with its key")
		}
		return h(ctx, r, w)
	}
}

// name reads a text for people of at most most characters.
func (in *input) name(field string, required bool, most int) (string, error) {
	s, err := in.text(field)
	s = strings.TrimSpace(s)
	switch {
	case err != nil:
		return "", err
	case s == "" && required:
		return "", engine.Invalid(field, "is missing")
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return "", engine.Invalid(field, "has characters that are not allowed")
	case utf8.RuneCountInString(s) > most:
		return "", engine.Invalid(field, "is too long: at most "+strconv.Itoa(most)+" characters")
	}
	return s, nil
}

func (e *Engine) serveCreateGallery(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	name, err := in.name("name", true, 100)
	if err != nil {
		return err
	}
	var g Gallery
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error { g, err = e.createGallery(tx, r.Owner, name); return err })
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusCreated, g)
}

// page reads after and limit.
func page(r *engine.Request) (after string, limit int, err error) {
	after, limit = r.Query.Get("after"), 50
	if s := r.Query.Get("limit"); s != "" {
		limit, err = strconv.Atoi(s)
		if err != nil || limit < 1 || limit > 200 {
			return "", 0, engine.Invalid("limit", "must be a whole number from 1 to 200")
		}
	}
	if len(after) > 100 || !utf8.ValidString(after) || strings.ContainsRune(after, 0) {
		return "", 0, engine.Invalid("after", "must be an id of the page before")
	}
	return after, limit, nil
}

// listed is a page of a list.
type listed[T any] struct {
	Data    []T  `json:"data"`
	HasMore bool `json:"has_more"`
}

func pageOf[T any](list []T, limit int) listed[T] {
	if list == nil {
		list = []T{}
	}
	return listed[T]{list[:min(limit, len(list))], len(list) > limit}
}

func (e *Engine) serveGalleries(ctx context.Context, r *engine.Request, w engine.Writer) error {
	after, limit, err := page(r)
	if err != nil {
		return err
	}
	var list []Gallery
	err = e.o.DB.View(ctx, func(tx *db.Tx) error { list, err = e.galleries(tx, r.Owner, after, limit); return err })
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, pageOf(list, limit))
}

// id reads an id in the path; what cannot be one does not exist.
func id(r *engine.Request, name string, none func() error) (string, error) {
	s := r.Params[name]
	if s == "" || len(s) > 100 || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", none()
	}
	return s, nil
}

func (e *Engine) serveGallery(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, err := id(r, "gallery", noGallery)
	if err != nil {
		return err
	}
	var g Gallery
	err = e.o.DB.View(ctx, func(tx *db.Tx) error { g, err = e.galleryOf(tx, r.Owner, gallery, ""); return err })
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, g)
}

// gone tells that something is deleted.
func gone(w engine.Writer, id string) error {
	return engine.WriteJSON(w, 200, struct {
		ID      string `json:"id"`
		Deleted bool   `json:"deleted"`
	}{id, true})
}

func (e *Engine) serveDeleteGallery(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, err := id(r, "gallery", noGallery)
	if err != nil {
		return err
	}
	if err := e.o.DB.Update(ctx, func(tx *db.Tx) error { return e.deleteGallery(tx, r.Owner, gallery) }); err != nil {
		return err
	}
	return gone(w, gallery)
}

func (e *Engine) serveDeletePerson(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, person, err := personID(r)
	if err != nil {
		return err
	}
	if err := e.o.DB.Update(ctx, func(tx *db.Tx) error { return e.deletePerson(tx, r.Owner, gallery, person) }); err != nil {
		return err
	}
	return gone(w, person)
}

func personID(r *engine.Request) (gallery, person string, err error) {
	if gallery, err = id(r, "gallery", noGallery); err != nil {
		return "", "", err
	}
	person, err = id(r, "person", noPerson)
	return gallery, person, err
}

func (e *Engine) servePerson(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, person, err := personID(r)
	if err != nil {
		return err
	}
	var p Person
	err = e.o.DB.View(ctx, func(tx *db.Tx) error { p, err = e.person(tx, r.Owner, gallery, person); return err })
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, p)
}

func (e *Engine) servePersons(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, err := id(r, "gallery", noGallery)
	if err != nil {
		return err
	}
	after, limit, err := page(r)
	if err != nil {
		return err
	}
	var list []Person
	err = e.o.DB.View(ctx, func(tx *db.Tx) error { list, err = e.persons(tx, r.Owner, gallery, after, limit); return err })
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, pageOf(list, limit))
}

// consent reads the statement of consent, and refuses a person without one.
func (e *Engine) consent(in *input) (Consent, error) {
	refused := func(why string) error {
		return problem.New(problem.Unprocessable, "vision.no_consent", "a person is enrolled only with their consent: send consent with statement (what they agreed to), by (who gave it) and at (when, RFC 3339)").
			WithField("consent", "%s", why)
	}
	var raw struct {
		Statement string `json:"statement"`
		By        string `json:"by"`
		At        string `json:"at"`
	}
	if err := in.object("consent", &raw); err != nil {
		return Consent{}, err
	}
	c := Consent{Statement: strings.TrimSpace(raw.Statement), By: strings.TrimSpace(raw.By)}
	for _, s := range []string{c.Statement, c.By} {
		if s == "" {
			return c, refused("is missing or incomplete")
		}
		if utf8.RuneCountInString(s) > 2000 || !utf8.ValidString(s) {
			return c, engine.Invalid("consent", "is too long: at most 2000 characters")
		}
	}
	at, err := time.Parse(time.RFC3339, raw.At)
	switch {
	case err != nil:
		return c, refused("at is not a time")
	case at.After(e.o.Clock.Now().Add(5 * time.Minute)): // clocks differ
		return c, refused("at lies in the future")
	}
	c.At = at.UTC()
	return c, nil
}

func (e *Engine) serveEnrol(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, err := id(r, "gallery", noGallery)
	if err != nil {
		return err
	}
	in, err := read(r)
	if err != nil {
		return err
	}
	var d details
	if d.Name, err = in.name("name", true, 200); err != nil {
		return err
	}
	if d.External, err = in.name("external_id", false, 200); err != nil {
		return err
	}
	if d.Consent, err = e.consent(in); err != nil {
		return err
	}
	files, err := in.files("images")
	if err != nil {
		return err
	}
	one, ok, err := in.file("image")
	if err != nil {
		return err
	}
	if ok {
		files = append(files, one)
	}
	switch {
	case len(files) == 0:
		return missingImage("image")
	case len(files) > maxFaces:
		return engine.Invalid("images", "has too many images: at most "+strconv.Itoa(maxFaces))
	}
	if err := e.needFaces(); err != nil {
		return err
	}
	// Whose gallery it is comes before the work.
	if err := e.o.DB.View(ctx, func(tx *db.Tx) error { _, err := e.galleryOf(tx, r.Owner, gallery, ""); return err }); err != nil {
		return err
	}
	var vectors [][]float32
	for i, data := range files { // one after the other: the memory of one at a time
		v, err := e.enrolled(ctx, data, "images["+strconv.Itoa(i)+"]")
		if err != nil {
			return err
		}
		vectors = append(vectors, v)
	}
	for i, v := range vectors[1:] {
		if cosine(vectors[0], v) < sameFace/2 {
			return problem.New(problem.Unprocessable, "vision.other_person", "the image %d shows someone else than the first one", i+2).WithField("images", "shows another person")
		}
	}
	var p Person
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error { p, err = e.enrol(tx, r.Owner, gallery, d, vectors); return err })
	if err != nil {
		return err
	}
	w.Used(engine.Units(len(files)))
	return engine.WriteJSON(w, http.StatusCreated, p)
}

// enrolled is the vector of the one face in an image.
func (e *Engine) enrolled(ctx context.Context, data []byte, field string) ([]float32, error) {
	list, leave, err := e.pictures(ctx, [][]byte{data}, looking)
	if err != nil {
		return nil, err
	}
	defer leave()
	_, v, n, err := e.subject(ctx, list[0].NRGBA, field)
	if err == nil && n > 1 {
		err = problem.New(problem.Unprocessable, "vision.many_faces", "the image %q shows %d faces: to enrol a person it must show them alone", field, n).WithField(field, "shows more than one face")
	}
	return v, err
}

func (e *Engine) serveSearch(ctx context.Context, r *engine.Request, w engine.Writer) error {
	gallery, err := id(r, "gallery", noGallery)
	if err != nil {
		return err
	}
	in, err := read(r)
	if err != nil {
		return err
	}
	most, err := in.integer("top", 1, 50, 5)
	if err != nil {
		return err
	}
	least, err := in.number("threshold", 0, 1, sameFace)
	if err != nil {
		return err
	}
	if err := e.needFaces(); err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", looking)
	if err != nil {
		return err
	}
	defer leave()
	f, v, n, err := e.subject(ctx, p.NRGBA, "image")
	if err != nil {
		return err
	}
	type hit struct {
		Person     Person  `json:"person"`
		Score      float64 `json:"score"`
		Confidence float64 `json:"confidence"`
	}
	hits := []hit{}
	err = e.o.DB.View(ctx, func(tx *db.Tx) error {
		hits = hits[:0]
		list, err := e.nearest(ctx, tx, r.Owner, gallery, v, least, most)
		if err != nil {
			return err
		}
		for _, m := range list {
			person, err := e.person(tx, r.Owner, gallery, m.person)
			if err != nil {
				return err
			}
			hits = append(hits, hit{person, round3(m.score), round3(certainty(m.score))})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, struct {
		Engine    string     `json:"engine"`
		Model     string     `json:"model"`
		Threshold float64    `json:"threshold"`
		Face      faceAnswer `json:"face"`
		Faces     int        `json:"faces"`
		Matches   []hit      `json:"matches"`
	}{engineFaces, modelFaces, least, f.public(), n, hits})
}
