package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// Bounds of what is read.
const (
	maxFile  = 16 << 20 // bytes
	maxNodes = 1 << 17  // values, aliases expanded
	maxDepth = 64
)

// shape says which fields an object may have; nil is a value of any kind.
type shape map[string]shape

// kinds are the kinds of documents and their fields. A test holds them to the API's.
func kinds() map[string]shape {
	text := shape{"en": nil, "zh": nil}
	return map[string]shape{
		"organisations": {"name": nil, "title": text, "parts": nil, "state": nil, "reason": nil, "members": {"email": nil, "name": nil, "role": nil}},
		"upstreams": {"name": nil, "organisation": nil, "url": nil, "dialect": nil, "state": nil, "reason": nil,
			"timeouts":    {"connect": nil, "first_byte": nil, "idle": nil, "total": nil},
			"credentials": {"name": nil, "state": nil, "secret": nil, "secret_env": nil, "secret_file": nil}},
		"products": {"name": nil, "organisation": nil, "kind": nil, "title": text, "description": text, "model": nil, "capabilities": nil,
			"input_modalities": nil, "output_modalities": nil, "context": nil, "max_output": nil, "definition": nil, "state": nil, "reason": nil,
			"versions": {"name": nil, "release": nil, "share": nil, "targets": {"upstream": nil, "model": nil, "priority": nil, "weight": nil}}},
		"plans": {"name": nil, "product": nil, "title": text, "description": text, "public": nil, "auto_subscribe": nil, "commission_ppm": nil,
			"limits": {"rpm": nil, "tpm": nil, "concurrency": nil}, "hold": {"max_output": nil}, "card": nil, "terms": nil, "pin": nil,
			"unpublished_edit": nil, "state": nil, "reason": nil},
		"subscriptions": {"organisation": nil, "plan": nil, "zone": nil, "anchor": nil, "state": nil, "reason": nil},
	}
}

// documents are what files say, merged: all that is applied together. Every value's place is kept, so that
// a fault that the server finds can be shown where it was written.
type documents struct {
	lists  map[string][]any
	places map[string]string // "plans[0].card" → "catalogue.yaml:12"
	faults []problem.Field
	nodes  int

	getenv func(string) string
	kinds  map[string]shape
	file   string // being read
	dir    string // where its secret_file are looked for
}

// readDocuments reads files, "-" for stdin, and folders of *.yaml, *.yml and *.json.
func readDocuments(env *Env, names []string) (*documents, error) {
	d := &documents{lists: map[string][]any{}, places: map[string]string{}, getenv: env.Getenv, kinds: kinds()}
	for _, name := range names {
		if err := d.read(env, name); err != nil {
			return nil, err
		}
	}
	if len(d.faults) > 0 {
		err := problem.New(problem.Invalid, "cli.documents", "the documents cannot be applied")
		err.Fields = d.faults
		return nil, err
	}
	return d, nil
}

func (d *documents) read(env *Env, name string) error {
	if name == "-" {
		data, err := io.ReadAll(io.LimitReader(env.Stdin, maxFile+1))
		if err != nil {
			return err
		}
		return d.parse("standard input", ".", data)
	}
	info, err := os.Stat(name)
	if err != nil {
		return unreadable(err)
	}
	files := []string{name}
	if info.IsDir() {
		if files, err = inFolder(name); err != nil {
			return err
		}
	}
	for _, f := range files {
		data, err := readFile(f, maxFile)
		if err != nil {
			return err
		}
		if err := d.parse(f, filepath.Dir(f), data); err != nil {
			return err
		}
	}
	return nil
}

func inFolder(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, unreadable(err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(name, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, problem.New(problem.Invalid, "cli.empty_folder", "the folder %s has no *.yaml, *.yml or *.json files", name)
	}
	return files, nil
}

// readFile reads a file that the user named: up to limit bytes, and one more of a larger one.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return data, nil
}

// unreadable is a failure to read what the user named; the message has the name.
func unreadable(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return problem.New(problem.Invalid, "cli.no_file", "there is no such file: %s", err.Error())
	}
	return problem.New(problem.Invalid, "cli.unreadable", "a file cannot be read: %s", err.Error())
}

// parse adds what a file says. Its faults are gathered; an error is returned where it is no YAML at all.
func (d *documents) parse(file, dir string, data []byte) error {
	if len(data) > maxFile {
		return problem.New(problem.TooLarge, "cli.file_too_large", "%s is larger than %d bytes", file, maxFile)
	}
	d.file, d.dir = file, dir
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return problem.New(problem.Invalid, "cli.no_yaml", "%s is not valid YAML: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) == 1 {
			d.document(doc.Content[0])
		}
	}
}

func (d *documents) faultf(n *yaml.Node, path, format string, args ...any) {
	if len(d.faults) < 100 {
		d.faults = append(d.faults, problem.Field{Path: join(fmt.Sprintf("%s:%d", d.file, n.Line), path, ": "), Detail: fmt.Sprintf(format, args...)})
	}
}

func join(a, b, with string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + with + b
}

// document adds one YAML document: lists by kind.
func (d *documents) document(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	d.fields(n, "", d.kinds, func(kind string, v *yaml.Node) {
		v = follow(v)
		switch {
		case v.Tag == "!!null":
		case v.Kind != yaml.SequenceNode:
			d.faultf(v, kind, "must be a list")
		default:
			for _, item := range v.Content {
				if d.nodes > maxNodes {
					break
				}
				path := fmt.Sprintf("%s[%d]", kind, len(d.lists[kind]))
				d.lists[kind] = append(d.lists[kind], d.value(item, path, d.kinds[kind], 0))
				d.special(kind, path, item)
			}
		}
	})
}

// fields hands the fields of an object to take, and finds those that it may not have or has twice. known may be nil: any may be there.
func (d *documents) fields(n *yaml.Node, path string, known map[string]shape, take func(string, *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.faultf(n, path, "must be an object: field: value")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		name := k.Value
		if k.Kind != yaml.ScalarNode {
			d.faultf(k, path, "a field's name must be a text")
			continue
		}
		if line, twice := seen[name]; twice {
			d.faultf(k, join(path, name, "."), "is given twice, first in line %d", line)
			continue
		}
		seen[name] = k.Line
		if _, ok := known[name]; known != nil && !ok {
			d.faultf(k, join(path, name, "."), "there is no such field; there are: %s", strings.Join(sorted(known), ", "))
			continue
		}
		take(name, n.Content[i+1])
	}
}

func sorted(m map[string]shape) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// value turns a node into what JSON encodes, and keeps its place.
func (d *documents) value(n *yaml.Node, path string, known shape, depth int) any {
	d.places[path] = fmt.Sprintf("%s:%d", d.file, n.Line)
	n = follow(n)
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		d.faultf(n, path, "there is too much here, or it is too deeply nested")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		d.fields(n, path, known, func(name string, v *yaml.Node) {
			out[name] = d.value(v, path+"."+name, known[name], depth+1)
		})
		return out
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, v := range n.Content {
			if d.nodes > maxNodes {
				break
			}
			out = append(out, d.value(v, path+"["+strconv.Itoa(i)+"]", known, depth+1))
		}
		return out
	}
	v, err := scalar(n)
	if err != nil {
		d.faultf(n, path, "%s", err.Error())
	}
	return v
}

// scalar keeps numbers as they are written, so that the server sees them exactly.
func scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		err := n.Decode(&v)
		return v, err
	case "!!int", "!!float":
		if v := json.Number(n.Value); json.Valid([]byte(n.Value)) {
			return v, nil
		}
		return nil, errors.New("write the number in plain decimal, or in quotes where it is a text")
	case "!!str", "!!timestamp":
		return n.Value, nil
	}
	return nil, fmt.Errorf("the tag %s is not known here", n.Tag)
}

// special checks and completes what the server does not see: cards before they are sent, secrets of
// upstreams that lie elsewhere.
func (d *documents) special(kind, path string, n *yaml.Node) {
	list := d.lists[kind]
	item, ok := list[len(list)-1].(map[string]any)
	if !ok {
		return
	}
	switch kind {
	case "plans":
		if card, ok := item["card"].(map[string]any); ok {
			d.card(path+".card", card)
		}
	case "upstreams":
		credentials, _ := item["credentials"].([]any)
		for i, c := range credentials {
			if c, ok := c.(map[string]any); ok {
				at := fmt.Sprintf("%s.credentials[%d]", path, i)
				if err := d.secret(c); err != nil {
					d.faults = append(d.faults, problem.Field{Path: d.where(at), Detail: err.Error()})
				}
			}
		}
	}
}

// card has the rating room look at a card.
func (d *documents) card(path string, card map[string]any) {
	data, err := json.Marshal(card)
	if err == nil {
		_, err = rating.ParseCard(data)
	}
	if err == nil {
		return
	}
	e := problem.As(err)
	for _, f := range e.Fields {
		d.faults = append(d.faults, problem.Field{Path: d.where(join(path, f.Path, ".")), Detail: f.Detail})
	}
	if len(e.Fields) == 0 {
		d.faults = append(d.faults, problem.Field{Path: d.where(path), Detail: e.Detail})
	}
}

// secret puts the secret itself into a credential that says where it is.
func (d *documents) secret(c map[string]any) error {
	given := 0
	for _, name := range []string{"secret", "secret_env", "secret_file"} {
		if _, ok := c[name]; ok {
			given++
		}
	}
	if given > 1 {
		return errors.New("secret, secret_env and secret_file exclude one another")
	}
	if name, ok := c["secret_env"].(string); ok {
		v := d.getenv(name)
		if v == "" {
			return fmt.Errorf("the environment variable %s is not set", name)
		}
		c["secret"] = v
	}
	if name, ok := c["secret_file"].(string); ok {
		if !filepath.IsAbs(name) {
			name = filepath.Join(d.dir, name)
		}
		data, err := readFile(name, 1<<16)
		if err != nil {
			return errors.New(problem.As(err).Detail)
		}
		c["secret"] = strings.TrimRight(string(data), "\r\n")
	}
	delete(c, "secret_env")
	delete(c, "secret_file")
	return nil
}

// where puts the place before a path: "catalogue.yaml:12: plans[0].card". What was not written lies
// where that is which should contain it.
func (d *documents) where(path string) string {
	for p := path; p != ""; {
		if place, ok := d.places[p]; ok {
			return place + ": " + path
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return path
}

// place adds places to the fields of a server's refusal.
func (d *documents) place(err error) error {
	var e *apiError
	if errors.As(err, &e) {
		for i := range e.Errors {
			e.Errors[i].Path = d.where(e.Errors[i].Path)
		}
	}
	return err
}
