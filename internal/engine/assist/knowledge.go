package assist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Bounds of a knowledge base.
const (
	maxDocuments = 10_000
	maxPassages  = 50_000
	maxBaseBytes = 64 << 20 // of text
	embedBatch   = 32
)

// Knowledge is a knowledge base.
type Knowledge struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Language  string    `json:"language,omitempty"`
	Documents int64     `json:"documents"`
	Passages  int64     `json:"passages"`
	Bytes     int64     `json:"bytes"`
	Revision  int64     `json:"revision"`
	Created   time.Time `json:"created_at"`
}

// Document is one source of a knowledge base.
type Document struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"` // file, text, url, faq
	Title    string    `json:"title"`
	Source   string    `json:"source,omitempty"` // file name or URL
	Language string    `json:"language"`
	Bytes    int64     `json:"bytes"`
	Passages int64     `json:"passages"`
	Vectors  bool      `json:"vectors"`
	Text     string    `json:"text,omitempty"`
	Created  time.Time `json:"created_at"`
	Updated  time.Time `json:"updated_at"`
	key      string
}

type head struct {
	Title   string `json:"t"`
	Source  string `json:"s"`
	Key     string `json:"k"` // what tells it from others of its kind: the source, and for questions their language
	Vectors bool   `json:"v"`
}

// searchData is what the index needs beside the text.
type searchData struct {
	Passages []passage `json:"p"`
	Vectors  []byte    `json:"v,omitempty"` // int8, in base64 by encoding/json
	Dim      int       `json:"d,omitempty"`
	Model    string    `json:"m,omitempty"` // of the vectors
}

// input is a document on its way in.
type input struct {
	kind, title, source, key, language, text string
}

const knowledgeColumns = `id, name, language, revision, created_at,
	(SELECT COUNT(*) FROM assist_document d WHERE d.knowledge = assist_knowledge.id),
	(SELECT CAST(COALESCE(SUM(passages), 0) AS BIGINT) FROM assist_document d WHERE d.knowledge = assist_knowledge.id),
	(SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM assist_document d WHERE d.knowledge = assist_knowledge.id)`

func scanKnowledge(scan func(...any) error) (*Knowledge, error) {
	var k Knowledge
	var created int64
	err := scan(&k.ID, &k.Name, &k.Language, &k.Revision, &created, &k.Documents, &k.Passages, &k.Bytes)
	k.Created = db.Time(created)
	return &k, err
}

func readKnowledge(tx *db.Tx, owner, id string) (*Knowledge, error) {
	k, err := scanKnowledge(tx.QueryRow(`SELECT `+knowledgeColumns+` FROM assist_knowledge WHERE owner = $1 AND id = $2`, owner, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, notFound("knowledge base", id)
	}
	return k, err
}

func listKnowledge(tx *db.Tx, owner string) ([]*Knowledge, error) {
	out := []*Knowledge{}
	err := each(tx, func(rows *db.Rows) error {
		k, err := scanKnowledge(rows.Scan)
		out = append(out, k)
		return err
	}, `SELECT `+knowledgeColumns+` FROM assist_knowledge WHERE owner = $1 ORDER BY id`, owner)
	return out, err
}

func insertKnowledge(tx *db.Tx, owner string, k *Knowledge) error {
	if err := room(tx, "assist_knowledge", owner); err != nil {
		return err
	}
	k.ID, k.Created, k.Revision = db.NewID("kno", tx.Now()), tx.Now(), 1
	_, err := tx.Exec(`INSERT INTO assist_knowledge (id, owner, name, language, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		k.ID, owner, k.Name, k.Language, k.Revision, db.Micros(k.Created))
	return taken(err, "knowledge base", k.Name)
}

func deleteKnowledge(tx *db.Tx, owner, id string) error {
	n, err := tx.Exec(`DELETE FROM assist_knowledge WHERE owner = $1 AND id = $2`, owner, id)
	if err == nil && n == 0 {
		return notFound("knowledge base", id)
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM assist_document WHERE knowledge = $1`, id); err != nil {
		return err
	}
	bots, err := listBots(tx, owner)
	if err != nil {
		return err
	}
	for _, b := range bots {
		if i := slices.Index(b.Knowledge, id); i >= 0 {
			b.Knowledge = slices.Delete(b.Knowledge, i, i+1)
			if err := writeBot(tx, owner, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockKnowledge holds a knowledge base until the transaction ends. Whoever changes its documents begins with it.
func lockKnowledge(tx *db.Tx, owner, id string) error {
	err := tx.QueryRow(`SELECT id FROM assist_knowledge WHERE owner = $1 AND id = $2`+tx.Dialect().ForUpdate(), owner, id).Scan(&id)
	if errors.Is(err, db.ErrNoRows) {
		return notFound("knowledge base", id)
	}
	return err
}

// bump raises a knowledge base's revision, and keeps it within its bounds.
func bump(tx *db.Tx, owner, id string) error {
	n, err := tx.Exec(`UPDATE assist_knowledge SET revision = revision + 1 WHERE owner = $1 AND id = $2`, owner, id)
	if err != nil {
		return err
	}
	if n == 0 {
		return notFound("knowledge base", id)
	}
	k, err := readKnowledge(tx, owner, id)
	if err != nil {
		return err
	}
	if k.Documents > maxDocuments || k.Passages > maxPassages || k.Bytes > maxBaseBytes {
		return problem.New(problem.TooLarge, "assist.knowledge_full", "a knowledge base holds at most %d documents, %d passages and %d bytes of text; make another one",
			maxDocuments, maxPassages, maxBaseBytes)
	}
	return nil
}

// prepare cuts a document and embeds its passages.
func (e *Engine) prepare(ctx context.Context, in *input) (searchData, error) {
	var s searchData
	if in.language == "" {
		in.language = e.identify(in.text, "en")
	}
	s.Passages = split(in.text)
	if len(s.Passages) == 0 {
		return s, problem.New(problem.Unprocessable, "assist.no_text", "there is no text in the document")
	}
	if e.o.Embed == nil || !slices.Contains(e.o.EmbedLanguages, in.language) {
		return s, nil
	}
	code := samples(in.text)
	for from := 0; from < len(s.Passages); from += embedBatch {
		batch := s.Passages[from:min(from+embedBatch, len(s.Passages))]
		texts := make([]string, len(batch))
		for i, p := range batch {
			prose, _ := without(in.text, code, p.Start, p.End)
			texts[i] = strings.TrimSpace(p.Heading + "\n" + prose)
		}
		vectors, err := e.o.Embed(ctx, texts)
		if err != nil || len(vectors) != len(texts) {
			if ctx.Err() != nil {
				return s, ctx.Err()
			}
			e.log.Warn("assist: no vectors", "error", err) // words alone find it, too
			s.Vectors, s.Dim = nil, 0
			return s, nil
		}
		for _, v := range vectors {
			s.Dim, s.Model = len(v), e.o.EmbedModel
			for _, x := range quantise(v) {
				s.Vectors = append(s.Vectors, byte(x))
			}
		}
	}
	return s, nil
}

// identify names the language of a text: by its script, else by the function given, else otherwise.
func (e *Engine) identify(text, otherwise string) string {
	lang, _ := e.identifySure(cutRunes(text, 2000))
	if lang == "" {
		return otherwise
	}
	return lang
}

// identifySure also says how sure that is.
func (e *Engine) identifySure(text string) (string, float64) {
	if s := script(text); s != "" && s != "ru" && s != "ar" && s != "hi" {
		return s, 1
	}
	if e.o.Identify != nil {
		lang, sure := e.o.Identify(text)
		return primary(lang), sure
	}
	return script(text), 0.9
}

func sourceKey(kind, source string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + source))
	return hex.EncodeToString(sum[:])
}

// put stores a document; one of the same source is replaced.
func (e *Engine) put(ctx context.Context, owner, knowledge string, in input) (*Document, error) {
	in.text = normalise(in.text)
	in.title = oneLine(in.title, 200)
	s, err := e.prepare(ctx, &in)
	if err != nil {
		return nil, err
	}
	var doc *Document
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		doc, err = e.putTx(tx, owner, knowledge, in, s)
		return err
	})
	return doc, err
}

func (e *Engine) putTx(tx *db.Tx, owner, knowledge string, in input, s searchData) (*Document, error) {
	// What is sealed is sealed for the id that the document has: nobody else may give its source another one meanwhile.
	if err := lockKnowledge(tx, owner, knowledge); err != nil {
		return nil, err
	}
	key := sourceKey(in.kind, in.key)
	doc := &Document{ID: db.NewID("doc", tx.Now()), Kind: in.kind, Title: in.title, Source: in.source, Language: in.language, Bytes: int64(len(in.text)),
		Passages: int64(len(s.Passages)), Vectors: s.Dim > 0, Created: tx.Now(), Updated: tx.Now(), key: in.key}
	var created int64
	err := tx.QueryRow(`SELECT id, created_at FROM assist_document WHERE knowledge = $1 AND source = $2`, knowledge, key).Scan(&doc.ID, &created)
	switch {
	case err == nil:
		doc.Created = db.Time(created)
	case !errors.Is(err, db.ErrNoRows):
		return nil, err
	}
	h, err := e.seal(head{doc.Title, doc.Source, in.key, doc.Vectors}, headPlace(doc.ID))
	if err != nil {
		return nil, err
	}
	content := e.o.Sealer.SealBytes([]byte(in.text), contentPlace(doc.ID))
	search, err := e.seal(s, searchPlace(doc.ID))
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(`INSERT INTO assist_document (id, owner, knowledge, kind, source, language, bytes, passages, sealed_by, head, content, search, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (knowledge, source) DO UPDATE SET language = excluded.language, bytes = excluded.bytes, passages = excluded.passages,
		sealed_by = excluded.sealed_by, head = excluded.head, content = excluded.content, search = excluded.search, updated_at = excluded.updated_at`,
		doc.ID, owner, knowledge, doc.Kind, key, doc.Language, doc.Bytes, doc.Passages, secret.KeyID(h), h, content, search, db.Micros(doc.Created), db.Micros(doc.Updated))
	if err != nil {
		return nil, err
	}
	return doc, bump(tx, owner, knowledge)
}

func (e *Engine) listDocuments(tx *db.Tx, owner, knowledge, after string, most int) ([]*Document, error) {
	out := []*Document{}
	err := each(tx, func(rows *db.Rows) error {
		d, err := e.scanDocument(rows.Scan)
		out = append(out, d)
		return err
	}, `SELECT id, kind, language, bytes, passages, created_at, updated_at, head FROM assist_document WHERE owner = $1 AND knowledge = $2 AND id > $3 ORDER BY id LIMIT $4`,
		owner, knowledge, after, int64(most))
	return out, err
}

func (e *Engine) scanDocument(scan func(...any) error) (*Document, error) {
	var d Document
	var created, updated int64
	var sealed []byte
	if err := scan(&d.ID, &d.Kind, &d.Language, &d.Bytes, &d.Passages, &created, &updated, &sealed); err != nil {
		return nil, err
	}
	d.Created, d.Updated = db.Time(created), db.Time(updated)
	var h head
	err := e.open(sealed, headPlace(d.ID), &h)
	d.Title, d.Source, d.key, d.Vectors = h.Title, h.Source, h.Key, h.Vectors
	return &d, err
}

func (e *Engine) readDocument(tx *db.Tx, owner, knowledge, id string) (*Document, error) {
	d, err := e.scanDocument(tx.QueryRow(`SELECT id, kind, language, bytes, passages, created_at, updated_at, head FROM assist_document
		WHERE owner = $1 AND knowledge = $2 AND id = $3`, owner, knowledge, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, notFound("document", id)
	}
	if err != nil {
		return nil, err
	}
	var sealed []byte
	if err := tx.QueryRow(`SELECT content FROM assist_document WHERE id = $1`, id).Scan(&sealed); err != nil {
		return nil, err
	}
	text, err := e.openBytes(sealed, contentPlace(id))
	d.Text = string(text)
	return d, err
}

func deleteDocument(tx *db.Tx, owner, knowledge, id string) error {
	if err := lockKnowledge(tx, owner, knowledge); err != nil {
		return err
	}
	n, err := tx.Exec(`DELETE FROM assist_document WHERE owner = $1 AND knowledge = $2 AND id = $3`, owner, knowledge, id)
	if err == nil && n == 0 {
		return notFound("document", id)
	}
	if err != nil {
		return err
	}
	return bump(tx, owner, knowledge)
}

// load reads all documents of a knowledge base for its index.
func (e *Engine) load(tx *db.Tx, owner, knowledge string) ([]indexed, error) {
	var docs []indexed
	err := each(tx, func(rows *db.Rows) error {
		var d indexed
		var sealedHead, content, search []byte
		if err := rows.Scan(&d.id, &d.kind, &d.language, &sealedHead, &content, &search); err != nil {
			return err
		}
		var h head
		if err := e.open(sealedHead, headPlace(d.id), &h); err != nil {
			return err
		}
		d.title, d.source = h.Title, h.Source
		text, err := e.openBytes(content, contentPlace(d.id))
		if err != nil {
			return err
		}
		d.text = string(text)
		var s searchData
		if err := e.open(search, searchPlace(d.id), &s); err != nil {
			return err
		}
		d.passages = s.Passages
		if s.Dim == 0 || s.Model != e.o.EmbedModel {
			docs = append(docs, d)
			return nil
		}
		d.dim = s.Dim
		d.vectors = make([]int8, len(s.Vectors))
		for i, b := range s.Vectors {
			d.vectors[i] = int8(b)
		}
		docs = append(docs, d)
		return nil
	}, `SELECT id, kind, language, head, content, search FROM assist_document WHERE owner = $1 AND knowledge = $2 ORDER BY id`, owner, knowledge)
	return docs, err
}
