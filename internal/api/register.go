package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// Page is the input of a list.
type Page struct {
	After string `query:"after" maxLength:"100" doc:"next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Items of a page"`
}

// List is a page of items.
type List[T any] struct {
	Items   []T    `json:"items"`
	HasMore bool   `json:"has_more"`
	Next    string `json:"next,omitempty" doc:"after of the next page"`
}

type listOutput[T any] struct{ Body List[T] }

// page makes a page of what a store returned; id gives an item's cursor.
func page[S, T any](items []S, more bool, id func(S) string, show func(S) T) *listOutput[T] {
	out := &listOutput[T]{Body: List[T]{Items: make([]T, 0, len(items)), HasMore: more}}
	for _, it := range items {
		out.Body.Items = append(out.Body.Items, show(it))
	}
	if more && len(items) > 0 {
		out.Body.Next = id(items[len(items)-1])
	}
	return out
}

// IfMatch is the input of an edit.
type IfMatch struct {
	IfMatch string `header:"If-Match" doc:"The ETag that the edit is based on, or *"`
}

// based returns the revision that the edit is based on, 0 for any. where it is required the header must be there.
func (m IfMatch) based(required bool) (int64, error) {
	switch m.IfMatch {
	case "*":
		return 0, nil
	case "":
		if required {
			return 0, problem.New(problem.Precondition, "api.if_match", "send If-Match with the ETag of what you have read, or * to overwrite whatever is there")
		}
		return 0, nil
	}
	rev, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(m.IfMatch, "W/"), `"`), 10, 64)
	if err != nil || rev <= 0 {
		return 0, problem.New(problem.Precondition, "api.etag", "%q is not an ETag of this API", m.IfMatch)
	}
	return rev, nil
}

// object is the output of an operation on one object.
type object[T any] struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     T
}

func single[T any](rev int64, body T) *object[T] { return &object[T]{ETag: etag(rev), Body: body} }

// made is single for a new object at a path.
func made[T any](rev int64, path string, body T) *object[T] {
	return &object[T]{ETag: etag(rev), Location: prefix + path, Body: body}
}

func etag(rev int64) string { return `"` + strconv.FormatInt(rev, 10) + `"` }

// prefix is where the API is.
const prefix = "/api/v1"

// route describes an operation: "GET /organisations/{org}".
func route(id, pattern, summary string, options ...func(*huma.Operation)) huma.Operation {
	method, path, _ := strings.Cut(pattern, " ")
	op := huma.Operation{OperationID: id, Method: method, Path: prefix + path, Summary: summary, MaxBodyBytes: maxBody + 2, // readBody has the say
		Security: []map[string][]string{{"key": {}}}}
	_, tag, ok := strings.Cut(id, "-")
	if !ok {
		tag = id
	}
	op.Tags = []string{tag}
	for _, option := range options {
		option(&op)
	}
	op.Responses = map[string]*huma.Response{}
	for _, status := range failures(&op) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/Problem" + strconv.Itoa(status)}
	}
	return op
}

func tagged(tag string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Tags = []string{tag} }
}

func about(text string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Description = text }
}

func created(op *huma.Operation) { op.DefaultStatus = http.StatusCreated }

// public operations need no key.
func public(op *huma.Operation) { op.Security = []map[string][]string{} }

func isPublic(op *huma.Operation) bool { return len(op.Security) == 0 }

// failures are the statuses with which an operation may fail.
func failures(op *huma.Operation) []int {
	list := []int{422, 500, 503}
	if !isPublic(op) {
		list = append(list, 401, 403, 404)
	}
	if op.Method != http.MethodGet {
		list = append(list, 400, 409, 413, 415)
	}
	if op.Method != http.MethodGet && op.Method != http.MethodPost {
		list = append(list, 412)
	}
	return list
}

// read registers an operation that changes nothing, or that opens transactions of its own.
func read[I, O any](s *server, op huma.Operation, fn func(context.Context, *call, *I) (*O, error)) {
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		c := callOf(ctx)
		out, err := fn(ctx, c, in)
		if err != nil {
			return nil, s.problem(c, err)
		}
		return out, nil
	})
}

// view registers an operation that reads within one transaction.
func view[I, O any](s *server, op huma.Operation, fn func(*db.Tx, *call, *I) (*O, error)) {
	read(s, op, func(ctx context.Context, c *call, in *I) (out *O, err error) {
		err = s.DB.View(ctx, func(tx *db.Tx) error { out, err = fn(tx, c, in); return err })
		return out, err
	})
}

// change registers an operation that writes within one transaction, which keeps the answer if the
// request carries an Idempotency-Key. fn may run more than once.
func change[I, O any](s *server, op huma.Operation, fn func(*db.Tx, *call, *I) (*O, error)) {
	if op.Method == http.MethodPost && !isPublic(&op) {
		op.Parameters = append(op.Parameters, &huma.Param{Ref: "#/components/parameters/IdempotencyKey"})
	}
	read(s, op, func(ctx context.Context, c *call, in *I) (out *O, err error) {
		err = s.DB.Update(ctx, func(tx *db.Tx) error { out, err = once(s, tx, c, in, fn); return err })
		return out, err
	})
}

// once runs fn, or returns the answer that it gave when the request came before.
func once[I, O any](s *server, tx *db.Tx, c *call, in *I, fn func(*db.Tx, *call, *I) (*O, error)) (out *O, err error) {
	if c.idem == nil {
		return fn(tx, c, in)
	}
	answer, replayed, err := s.Idem.Do(tx, c.idem, func() ([]byte, error) {
		if out, err = fn(tx, c, in); err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
	if err != nil || !replayed {
		return out, err
	}
	c.header.Set("Idempotency-Replayed", "true")
	out = new(O)
	return out, json.Unmarshal(answer, out)
}

// organisation finds the organisation that a path names, by name or id, and checks that the caller may
// do the action there. One that the caller may not even see is not found.
func organisation(tx *db.Tx, c *call, ref string, action auth.Action) (org.Org, error) {
	o, err := findOrg(tx, ref)
	switch {
	case problem.Is(err, problem.NotFound) || err == nil && !auth.Can(c.principal, "org.read", o.ID):
		return o, problem.New(problem.NotFound, "api.no_organisation", "there is no organisation %q that your key may see", clip(ref))
	case err != nil:
		return o, err
	}
	return o, auth.Permit(c.principal, action, o.ID)
}

// findOrg finds an organisation by name or id.
func findOrg(tx *db.Tx, ref string) (org.Org, error) {
	if strings.HasPrefix(ref, "org_") { // no name has an underscore
		return org.GetTx(tx, ref)
	}
	return org.ByNameTx(tx, ref)
}

// at is [organisation] in a transaction of its own.
func (s *server) at(ctx context.Context, c *call, ref string, action auth.Action) (o org.Org, err error) {
	err = s.DB.View(ctx, func(tx *db.Tx) error { o, err = organisation(tx, c, ref, action); return err })
	return o, err
}

// InOrg is the input of an operation on an organisation.
type InOrg struct {
	Org string `path:"org" maxLength:"60" doc:"Name or id of the organisation"`
}

// reason is the body of a suspension and the like.
type reason struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why: it is recorded, and shown to whom it concerns"`
}

// text is the reason given, if any.
func (r *reason) text() string {
	if r == nil {
		return ""
	}
	return r.Reason
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// config is huma's.
func (s *server) config() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[rating.Number](), reflect.TypeFor[decimal]())
	registry.RegisterTypeAlias(reflect.TypeFor[rating.OneOf](), reflect.TypeFor[oneOf]())
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Tollgate management API", Version: s.Version, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
				Description: "Organisations, keys, the catalogue, plans, subscriptions, money and usage of a Tollgate platform."},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key": {Type: "http", Scheme: "bearer", BearerFormat: "sk-tg-mgt-…", Description: "A management key"},
				},
				Parameters: map[string]*huma.Param{
					"IdempotencyKey": {Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: "string"},
						Description: "The request happens once: sent again within 24 hours with the same key and body, it is answered as the first time"},
				},
				Responses: map[string]*huma.Response{},
			},
		},
		Formats:                      formats(),
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.transform},
	}
}

// schemaName tells types of different rooms with the same name apart.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch room := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]; {
	case room == "rating" && name != "Card":
		return "Card" + name
	case room == "plan":
		return "Plan" + name
	case room == "settle":
		return "Ledger" + name
	case room == "audit":
		return "Audit" + name
	}
	return strings.TrimSuffix(name, "View")
}

// finishDocument completes the OpenAPI document when all operations are registered.
func (s *server) finishDocument() *huma.OpenAPI {
	doc := s.huma.OpenAPI()
	if s.PublicURL != "" {
		doc.Servers = []*huma.Server{{URL: s.PublicURL}}
	}
	schemas := doc.Components.Schemas
	body := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, op := range operations(doc) {
		for status := range op.Responses {
			if code, err := strconv.Atoi(status); err == nil && code >= 400 {
				doc.Components.Responses["Problem"+status] = &huma.Response{Description: http.StatusText(code),
					Content: map[string]*huma.MediaType{"application/problem+json": {Schema: body}}}
			}
		}
	}
	delete(schemas.Map(), "ErrorModel") // huma's own, which this API does not send
	delete(schemas.Map(), "ErrorDetail")
	for _, schema := range schemas.Map() {
		notNull(schema)
	}
	return doc
}

func encodeDocument(doc *huma.OpenAPI) []byte {
	data, err := json.Marshal(doc)
	if err != nil {
		panic(errors.Join(errors.New("api: the document does not encode"), err))
	}
	return data
}

// notNull says that the arrays in a schema are never null: huma assumes that they may be.
func notNull(schema *huma.Schema) {
	if schema == nil {
		return
	}
	if schema.Type == huma.TypeArray {
		schema.Nullable = false
	}
	notNull(schema.Items)
	for _, p := range schema.Properties {
		notNull(p)
	}
	for _, alternative := range schema.OneOf {
		notNull(alternative)
	}
}

func operations(doc *huma.OpenAPI) []*huma.Operation {
	var out []*huma.Operation
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				out = append(out, op)
			}
		}
	}
	return out
}

// decimal is how a decimal of a rate card is described: a string, or an integer.
type decimal struct{}

// Schema implements huma.SchemaProvider.
func (decimal) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeInteger}}, Description: "An exact decimal: a string, or an integer"}
}

// oneOf is how a list of names in a rate card is described: a name, or a list of them.
type oneOf struct{}

// Schema implements huma.SchemaProvider.
func (oneOf) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}}}
}
