package translate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// DeepL's documents are uploaded, asked after and fetched. Here a document is translated while it is uploaded; the result
// waits, sealed, until it is fetched once or its hour is over.
const (
	documentLife = time.Hour
	maxDocuments = 20 // that wait, of an owner
)

func readDeepLDocument(r *engine.Request) (*job, error) {
	f, err := engine.ParseForm(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	if len(f.Files["file"]) != 1 {
		return nil, engine.Invalid("file", "send one file")
	}
	j, err := deepLJob(r.Owner, f.Values)
	if err != nil {
		return nil, err
	}
	j.name = f.Files["file"][0].Name
	if n := f.Value("filename"); n != "" {
		j.name = n
	}
	if len(j.name) > 200 {
		j.name = j.name[len(j.name)-200:]
	}
	j.format = formatOf(j.name)
	return j, j.addFile(j.name, f.Files["file"][0].Data)
}

func (e *Engine) uploadDocument(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if e.o.Sealer == nil {
		return notKept()
	}
	j, err := readDeepLDocument(r)
	if err != nil {
		return err
	}
	all, err := e.runForeign(ctx, j, w)
	if err != nil {
		return err
	}
	id, key := db.NewID("doc", e.o.Clock.Now()), rand.Text()+rand.Text()
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(`DELETE FROM translate_document WHERE expires_at <= $1`, db.Micros(tx.Now())); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM translate_document WHERE owner = $1`, r.Owner).Scan(&n); err != nil {
			return err
		}
		if n >= maxDocuments {
			return problem.New(problem.TooMany, "translate.too_many_documents", "%d translated documents wait to be fetched; fetch them first", maxDocuments).After(time.Minute)
		}
		k, err := e.store.key(tx, r.Owner, true)
		if err != nil {
			return err
		}
		sealed := k.seal.SealBytes(all[0].data, documentPlace(id))
		_, err = tx.Exec(`INSERT INTO translate_document (id, owner, secret, name, format, characters, data, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			id, r.Owner, keyHash(key), translatedName(j.name, j.target), j.format, int64(j.characters()), sealed, db.Micros(tx.Now().Add(documentLife)))
		return err
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]string{"document_id": id, "document_key": key})
}

func documentPlace(id string) string { return "translated document " + id }

func keyHash(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

type storedDocument struct {
	name, format string
	characters   int64
	data         []byte
}

// fetch reads a document that waits, and deletes it if it is taken.
func (e *Engine) fetch(ctx context.Context, r *engine.Request, take bool) (*storedDocument, error) {
	key, err := decodeKey(r)
	if err != nil {
		return nil, err
	}
	id := r.Params["document"]
	var d storedDocument
	none := problem.New(problem.NotFound, "translate.no_document", "there is no such document; it was fetched already, or its hour is over")
	do := e.o.DB.View
	if take {
		do = e.o.DB.Update
	}
	err = do(ctx, func(tx *db.Tx) error {
		var hash string
		err := tx.QueryRow(`SELECT secret, name, format, characters, data FROM translate_document WHERE id = $1 AND owner = $2 AND expires_at > $3`, id, r.Owner, db.Micros(tx.Now())).
			Scan(&hash, &d.name, &d.format, &d.characters, &d.data)
		if errors.Is(err, db.ErrNoRows) || err == nil && subtle.ConstantTimeCompare([]byte(hash), []byte(keyHash(key))) != 1 {
			return none
		}
		if err != nil || !take {
			return err
		}
		if d.data, err = e.openDocument(tx, r.Owner, id, d.data); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM translate_document WHERE id = $1 AND owner = $2`, id, r.Owner)
		return err
	})
	return &d, err
}

// openDocument opens a document that waits. One of a version before owners had keys is sealed by the platform's.
func (e *Engine) openDocument(tx *db.Tx, owner, id string, data []byte) ([]byte, error) {
	if e.o.Sealer != nil {
		if plain, err := e.o.Sealer.OpenBytes(data, documentPlace(id)); err == nil {
			return plain, nil
		}
	}
	k, err := e.store.key(tx, owner, false)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, notOpened(secret.ErrCorrupt)
	}
	plain, err := k.seal.OpenBytes(data, documentPlace(id))
	if err != nil {
		return nil, notOpened(err)
	}
	return plain, nil
}

func (e *Engine) documentStatus(ctx context.Context, r *engine.Request, w engine.Writer) error {
	d, err := e.fetch(ctx, r, false)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]any{"document_id": r.Params["document"], "status": "done", "billed_characters": d.characters})
}

func (e *Engine) documentResult(ctx context.Context, r *engine.Request, w engine.Writer) error {
	d, err := e.fetch(ctx, r, true)
	if err != nil {
		return err
	}
	w.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.name}))
	w.Start(200, mediaTypes[d.format])
	return w.Write(d.data)
}

// decodeKey reads document_key of a form or of JSON.
func decodeKey(r *engine.Request) (string, error) {
	if isForm(r.Type) || engine.IsMultipart(r.Type) {
		v, err := deepLFields(r)
		if err != nil {
			return "", err
		}
		return v.Get("document_key"), nil
	}
	var b struct {
		Key string `json:"document_key"`
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return "", engine.Invalid("document_key", "is missing")
	}
	return b.Key, nil
}
