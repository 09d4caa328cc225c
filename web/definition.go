package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate-io/tollgate/internal/catalog"
)

// document is an OpenAPI document as far as the page shows it. All of it is text that the provider wrote.
type document struct {
	Title       string
	Version     string
	Description string
	Operations  []operation
	Cut         bool // there is more in the document than is shown
}

type operation struct {
	Method, Path string
	Summary      string
	Description  string
	Deprecated   bool
	Fields       []field // parameters, then the request's body
	Body         string  // media types of the request's body
	Answers      []answer
}

// field is a parameter, or a field of a JSON body.
type field struct {
	Name     string // path: messages[].role
	In       string // query, path, header, cookie; empty: body
	Type     string
	Required bool
	About    string
	Rules    []rule // default, limits, choices
}

// rule is something that a schema says about a value; Key names its text, as "rule.minimum".
type rule struct{ Key, Value string }

// Class is the answer's kind, from its status: c2, c4, c5, or cx.
func (a answer) Class() string {
	if len(a.Status) == 3 && a.Status[0] >= '1' && a.Status[0] <= '5' {
		return "c" + a.Status[:1]
	}
	return "cx"
}

type answer struct {
	Status string
	About  string
	Types  string
	Fields []field
}

// What a page shows at most of a document.
const (
	maxOperations = 100
	maxFields     = 2000 // of a document
	maxDepth      = 5    // of fields in fields
	maxText       = 1500 // characters of a description
	maxSteps      = 50_000
	maxNodes      = 300_000
)

// definitions keeps the documents that were read last.
type definitions struct {
	mu   sync.Mutex
	kept map[string]kept // by product id
}

type kept struct {
	revision int64
	doc      *document
}

// get returns a product's document as read from what load gives.
func (d *definitions) get(ctx context.Context, p *catalog.Product, load func(context.Context, string) (string, error)) (*document, error) {
	d.mu.Lock()
	k, ok := d.kept[p.ID]
	d.mu.Unlock()
	if ok && k.revision == p.Revision {
		return k.doc, nil
	}
	text, err := load(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	doc, err := readDocument(text)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil || len(d.kept) >= 100 {
		d.kept = map[string]kept{}
	}
	d.kept[p.ID] = kept{p.Revision, doc}
	return doc, nil
}

// definition serves the document itself.
func (s *site) definition(w http.ResponseWriter, r *http.Request) {
	it := s.find(r)
	if it == nil {
		s.missing(w, r)
		return
	}
	doc, err := s.Definition(r.Context(), it.Product.ID)
	if err != nil {
		s.Log.Warn("a product's definition cannot be read", "product", it.Product.ID, "error", err)
		http.Error(w, "the definition cannot be read now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // for tools in a browser: it is public
	contentType := "text/plain; charset=utf-8"         // YAML: browsers show it, and nosniff keeps it text
	if json.Valid([]byte(doc)) {
		contentType = "application/json"
	}
	plain(w, r, contentType, doc)
}

// readDocument reads an OpenAPI document, JSON or YAML. Whatever it does not understand it leaves out.
func readDocument(text string) (*document, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		return nil, fmt.Errorf("not JSON or YAML: %w", err)
	}
	var rd reader
	left := maxNodes
	rd.root = obj(value(&node, 0, &left))
	rd.doc.Cut = left < 0
	info := obj(rd.root["info"])
	rd.doc.Title, rd.doc.Version, rd.doc.Description = str(info["title"]), str(info["version"]), clip(str(info["description"]), maxText)
	base := ""
	if servers := list(rd.root["servers"]); len(servers) > 0 {
		base = strings.TrimRight(str(obj(servers[0])["url"]), "/")
	}
	paths := obj(rd.root["paths"])
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		rd.path(base+path, rd.follow(paths[path]))
	}
	return &rd.doc, nil
}

// value returns what a node says, as encoding/json would: the keys of objects are texts, also those that YAML
// takes for numbers (200:). It takes at most left nodes, however often aliases repeat them. (The package's own
// decoding takes time by the square of an object's size, and fails on faults that do not matter here.)
func value(n *yaml.Node, depth int, left *int) any {
	if *left--; *left < 0 || depth > 100 {
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return value(n.Content[0], depth+1, left)
	case yaml.AliasNode:
		return value(n.Alias, depth+1, left)
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = value(n.Content[i+1], depth+1, left)
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			l = append(l, value(c, depth+1, left))
		}
		return l
	case yaml.ScalarNode:
		var v any
		if err := n.Decode(&v); err != nil {
			return n.Value
		}
		return v
	}
	return nil
}

// reader walks a document. Its helpers take any value and return nothing where it is of another type.
type reader struct {
	root   map[string]any
	doc    document
	fields int
	steps  int // that reading has cost: references and wide schemas can make a small document a large one
}

// spend takes n steps and reports whether they were left.
func (rd *reader) spend(n int) bool {
	if rd.steps += n; rd.steps > maxSteps {
		rd.doc.Cut = true
	}
	return rd.steps <= maxSteps
}

func list(v any) []any { l, _ := v.([]any); return l }

func obj(v any) map[string]any { m, _ := v.(map[string]any); return m }

func str(v any) string {
	switch v := v.(type) {
	case nil, map[string]any, []any:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// follow returns the object that v is or refers to within the document.
func (rd *reader) follow(v any) map[string]any {
	m := obj(v)
	for range 8 {
		ref := str(m["$ref"])
		if ref == "" || !rd.spend(1) {
			return m
		}
		parts := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		if len(parts) > 8 || !strings.HasPrefix(ref, "#/") {
			return nil
		}
		at := any(rd.root)
		for _, p := range parts {
			at = obj(at)[strings.NewReplacer("~1", "/", "~0", "~").Replace(p)]
		}
		m = obj(at)
	}
	return nil
}

func (rd *reader) path(path string, item map[string]any) {
	for _, method := range []string{"get", "post", "put", "patch", "delete", "head", "options", "trace"} {
		op := obj(item[method])
		if op == nil {
			continue
		}
		if len(rd.doc.Operations) == maxOperations {
			rd.doc.Cut = true
			return
		}
		o := operation{Method: strings.ToUpper(method), Path: path, Summary: clip(str(op["summary"]), 200),
			Description: clip(str(op["description"]), maxText), Deprecated: op["deprecated"] == true}
		for _, p := range slices.Concat(list(item["parameters"]), list(op["parameters"])) {
			p := rd.follow(p)
			if !rd.spend(1) {
				return
			}
			f := rd.describe(str(p["name"]), rd.follow(p["schema"]))
			f.In, f.Required = str(p["in"]), p["required"] == true
			f.About = cmp.Or(clip(str(p["description"]), maxText), f.About)
			rd.add(&o.Fields, f)
		}
		body := rd.follow(op["requestBody"])
		o.Body = mediaTypes(body)
		rd.content(&o.Fields, body)
		answers := obj(op["responses"])
		for _, status := range slices.Sorted(maps.Keys(answers)) {
			a := rd.follow(answers[status])
			ans := answer{Status: status, About: clip(str(a["description"]), maxText), Types: mediaTypes(a)}
			if strings.HasPrefix(status, "2") {
				rd.content(&ans.Fields, a)
			}
			o.Answers = append(o.Answers, ans)
		}
		rd.doc.Operations = append(rd.doc.Operations, o)
	}
}

func mediaTypes(v map[string]any) string {
	return clip(strings.Join(slices.Sorted(maps.Keys(obj(v["content"]))), ", "), 200)
}

// content adds the fields of the first media type that has a schema with fields, JSON before others.
func (rd *reader) content(to *[]field, v map[string]any) {
	types := obj(v["content"])
	names := slices.Sorted(maps.Keys(types))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(strings.Index(b, "json"), strings.Index(a, "json"))
	})
	for _, name := range names {
		schema := rd.follow(obj(types[name])["schema"])
		if before := len(*to); schema != nil {
			rd.object(to, "", schema, maxDepth)
			if len(*to) > before {
				return
			}
		}
	}
}

// object adds the fields of a schema below a path.
func (rd *reader) object(to *[]field, path string, schema map[string]any, depth int) {
	if depth == 0 || schema == nil || !rd.spend(1) {
		return
	}
	for range 4 { // arrays, and arrays of arrays
		items := rd.follow(schema["items"])
		if items == nil {
			break
		}
		path, schema = path+"[]", items
	}
	for _, part := range list(schema["allOf"]) {
		rd.object(to, path, rd.follow(part), depth-1)
	}
	props := obj(schema["properties"])
	if !rd.spend(len(props) + len(list(schema["required"]))) {
		return
	}
	required := map[string]bool{}
	for _, name := range list(schema["required"]) {
		required[str(name)] = true
	}
	names := slices.SortedFunc(maps.Keys(props), func(a, b string) int {
		if required[a] != required[b] {
			if required[a] {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	for _, name := range names {
		if rd.doc.Cut {
			return
		}
		below := rd.follow(props[name])
		at := name
		if path != "" {
			at = path + "." + name
		}
		f := rd.describe(at, below)
		f.Required = required[name]
		rd.add(to, f)
		rd.object(to, at, below, depth-1)
	}
}

func (rd *reader) add(to *[]field, f field) {
	if rd.fields++; rd.fields > maxFields {
		rd.doc.Cut = true
		return
	}
	*to = append(*to, f)
}

// ruleKeys are what a page shows of a schema's keywords.
var ruleKeys = []string{"const", "default", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength",
	"minItems", "maxItems", "pattern", "enum", "examples", "example"}

// describe tells what a schema says about a value itself.
func (rd *reader) describe(name string, schema map[string]any) field {
	f := field{Name: clip(name, 200), Type: clip(rd.typeOf(schema, 3), 200), About: clip(str(schema["description"]), maxText)}
	for _, key := range ruleKeys {
		value := compact(schema[key])
		if vs := list(schema[key]); vs != nil {
			var each []string
			for _, v := range vs[:min(len(vs), 20)] {
				each = append(each, compact(v))
			}
			if len(vs) > 20 {
				each = append(each, "…")
			}
			value = strings.Join(each, ", ")
		}
		if value != "" {
			f.Rules = append(f.Rules, rule{key, value})
		}
	}
	return f
}

// compact writes a value as JSON, cut short.
func compact(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return clip(string(b), 80)
}

// typeOf names the type of a schema.
func (rd *reader) typeOf(schema map[string]any, depth int) string {
	if schema == nil || depth == 0 || !rd.spend(1) {
		return "any"
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		var names []string
		all := list(schema[key])
		for _, s := range all[:min(len(all), 10)] {
			if n := rd.typeOf(rd.follow(s), depth-1); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		if len(names) > 0 {
			return strings.Join(names, " | ")
		}
	}
	name := str(schema["type"])
	var names []string
	for _, n := range list(schema["type"]) {
		if len(names) < 10 {
			names = append(names, str(n))
		}
	}
	name = cmp.Or(name, strings.Join(names, " | "))
	switch {
	case name == "array" && schema["items"] != nil:
		return rd.typeOf(rd.follow(schema["items"]), depth-1) + "[]"
	case name == "" && (schema["properties"] != nil || schema["allOf"] != nil):
		return "object"
	case schema["format"] != nil && name != "":
		return name + " (" + str(schema["format"]) + ")"
	}
	return cmp.Or(name, "any")
}
