package problem

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unknown stands in a sample for what the source does not tell.
const unknown = "xyzzy"

// place is an argument that becomes a part of a message: of a function of a directory, or, where dir is "", of every method of
// the name.
type place struct {
	dir, fn string
	arg     int
}

// source is the product's code, read to find the phrases in it.
type source struct {
	fset   *token.FileSet
	files  map[string][]*ast.File // by directory
	funcs  map[string]map[string][]*ast.FuncDecl
	consts map[string]map[string]ast.Expr
	places map[place]bool
	grew   bool
	found  map[string]string // phrase and where it is
}

func readSource(t *testing.T, root string) *source {
	s := &source{token.NewFileSet(), map[string][]*ast.File{}, map[string]map[string][]*ast.FuncDecl{}, map[string]map[string]ast.Expr{},
		map[place]bool{{"", "WithField", 1}: true}, true, map[string]string{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(s.fset, path, nil, 0)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		s.files[dir] = append(s.files[dir], f)
		if s.funcs[dir] == nil {
			s.funcs[dir], s.consts[dir] = map[string][]*ast.FuncDecl{}, map[string]ast.Expr{}
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				s.funcs[dir][decl.Name.Name] = append(s.funcs[dir][decl.Name.Name], decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
						for i, n := range v.Names {
							s.consts[dir][n.Name] = v.Values[i]
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// phrases finds what the code gives to messages, through any number of functions.
func (s *source) phrases() map[string]string {
	for s.grew {
		s.grew = false
		for dir, files := range s.files {
			for _, f := range files {
				for _, decl := range f.Decls {
					if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
						s.walk(dir, fn)
					}
				}
			}
		}
	}
	return s.found
}

func (s *source) walk(dir string, fn *ast.FuncDecl) {
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			pkg, name := callee(n)
			if name == "New" && pkg == "problem" && len(n.Args) > 3 {
				s.message(dir, fn, n)
			}
			for i, a := range n.Args {
				if s.places[place{dir, name, i}] || s.places[place{"", name, i}] || pkg != "" && s.exported(pkg, name, i) {
					s.note(dir, fn, a, s.rest(dir, name, n.Args, i))
				}
			}
		case *ast.CompositeLit:
			if _, name := named(n.Type); name != "Field" && name != "Info" && name != "Model" {
				break
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if id, ok := kv.Key.(*ast.Ident); ok && (id.Name == "Detail" || id.Name == "Need") {
						s.note(dir, fn, kv.Value, nil)
					}
				}
			}
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if _, name := named(l); name == "Need" && len(n.Rhs) == len(n.Lhs) {
					s.note(dir, fn, n.Rhs[i], nil)
				}
			}
		}
		return true
	})
}

// exported reports whether the argument of another package's function is such a place.
func (s *source) exported(pkg, name string, arg int) bool {
	for p := range s.places {
		if p.fn == name && p.arg == arg && filepath.Base(p.dir) == pkg && ast.IsExported(name) {
			return true
		}
	}
	return false
}

// rest are the arguments for the verbs of argument i, if the callee formats it.
func (s *source) rest(dir, name string, args []ast.Expr, i int) []ast.Expr {
	if i+1 < len(args) {
		return args[i+1:]
	}
	return []ast.Expr{}
}

// message looks at the arguments of problem.New that its text shows without quotes.
func (s *source) message(dir string, fn *ast.FuncDecl, call *ast.CallExpr) {
	for _, format := range s.samples(dir, fn, call.Args[2], nil, 0) {
		m := newMessage(format)
		for i, a := range call.Args[3:] {
			if m.shown&(1<<i) != 0 {
				s.note(dir, fn, a, nil)
			}
		}
	}
}

// note keeps what an expression can be, if it is a phrase: several words.
func (s *source) note(dir string, fn *ast.FuncDecl, e ast.Expr, rest []ast.Expr) {
	for _, text := range s.samples(dir, fn, e, rest, 0) {
		if severalWords.MatchString(strings.ReplaceAll(text, unknown, "")) {
			s.found[text] = s.fset.Position(e.Pos()).String()
		}
	}
}

var severalWords = regexp.MustCompile(`[A-Za-z]\S* .*[A-Za-z]`)

// samples are texts that an expression can be, with 7 for numbers, "xyzzy" for what is quoted and xyzzy for what is not told.
// A parameter tells nothing, but its callers do: their argument is a place from now on. With rest the text is a format.
func (s *source) samples(dir string, fn *ast.FuncDecl, e ast.Expr, rest []ast.Expr, depth int) []string {
	if depth > 6 {
		return []string{unknown}
	}
	sub := func(e ast.Expr) []string { return s.samples(dir, fn, e, nil, depth+1) }
	var out []string
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil || e.Kind != token.STRING || text == "" && depth > 0 {
			return []string{unknown}
		}
		if rest != nil && strings.Contains(text, "%") {
			return s.formatted(text, rest, sub)
		}
		return []string{text}
	case *ast.ParenExpr:
		return s.samples(dir, fn, e.X, rest, depth)
	case *ast.BinaryExpr:
		for _, l := range sub(e.X) {
			for _, r := range sub(e.Y) {
				out = append(out, l+r)
			}
		}
		return out
	case *ast.Ident:
		return s.variable(dir, fn, e, rest, depth)
	case *ast.CallExpr:
		return s.result(dir, e, 0, depth, sub)
	}
	return []string{unknown}
}

func (s *source) formatted(format string, args []ast.Expr, sub func(ast.Expr) []string) []string {
	out, at, from := []string{""}, 0, 0
	add := func(tails []string) {
		var next []string
		for _, h := range out {
			for _, t := range tails {
				next = append(next, h+t)
			}
		}
		out = next[:min(len(next), 200)]
	}
	for _, v := range verb.FindAllStringSubmatchIndex(format, -1) {
		add([]string{format[from:v[0]]})
		from = v[1]
		switch format[v[1]-1] {
		case '%':
			add([]string{"%"})
			continue
		case 'd', 'g':
			add([]string{"7"})
		case 'q':
			add([]string{`"` + unknown + `"`})
		default:
			if at < len(args) {
				add(sub(args[at]))
			} else {
				add([]string{unknown})
			}
		}
		at++
	}
	add([]string{format[from:]})
	return out
}

// variable is what a name can stand for.
func (s *source) variable(dir string, fn *ast.FuncDecl, id *ast.Ident, rest []ast.Expr, depth int) (out []string) {
	if c, ok := s.consts[dir][id.Name]; ok {
		return s.samples(dir, fn, c, rest, depth+1)
	}
	at := 0
	for _, p := range fn.Type.Params.List {
		for _, n := range p.Names {
			if n.Name == id.Name {
				p := place{dir, fn.Name.Name, at}
				if fn.Recv != nil && ast.IsExported(fn.Name.Name) {
					p.dir = ""
				}
				if !s.places[p] {
					s.places[p], s.grew = true, true
				}
			}
			at++
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if x, ok := l.(*ast.Ident); !ok || x.Name != id.Name {
					continue
				}
				if len(n.Rhs) == len(n.Lhs) {
					out = append(out, s.samples(dir, fn, n.Rhs[i], rest, depth+1)...)
				} else if call, ok := n.Rhs[0].(*ast.CallExpr); ok {
					out = append(out, s.result(dir, call, i, depth, func(e ast.Expr) []string { return s.samples(dir, fn, e, nil, depth+1) })...)
				}
			}
		case *ast.ValueSpec:
			for i, x := range n.Names {
				if x.Name == id.Name && i < len(n.Values) {
					out = append(out, s.samples(dir, fn, n.Values[i], rest, depth+1)...)
				}
			}
		}
		return true
	})
	if out == nil {
		return []string{unknown}
	}
	return out
}

// result is what a call can give as its result i, which is a text or an error.
func (s *source) result(dir string, call *ast.CallExpr, i, depth int, sub func(ast.Expr) []string) (out []string) {
	pkg, name := callee(call)
	switch pkg + "." + name {
	case "fmt.Sprintf", "fmt.Errorf":
		for _, format := range sub(call.Args[0]) {
			out = append(out, s.formatted(format, call.Args[1:], sub)...)
		}
		return out
	case "errors.New":
		return sub(call.Args[0])
	case ".clipTo":
		return sub(call.Args[1])
	case "strconv.Itoa", "strconv.FormatInt", "strconv.FormatFloat":
		return []string{"7"}
	}
	if f, ok := call.Fun.(*ast.SelectorExpr); ok && name == "Error" {
		return sub(f.X)
	}
	for _, f := range s.funcs[dir][name] {
		if pkg != "" && f.Recv == nil || f.Type.Results == nil || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok && i < len(r.Results) {
				out = append(out, s.samples(dir, f, r.Results[i], nil, depth+2)...)
			}
			return true
		})
	}
	if out == nil {
		return []string{unknown}
	}
	return out
}

func callee(call *ast.CallExpr) (pkg, name string) { return named(call.Fun) }

func named(e ast.Expr) (pkg, name string) {
	switch e := e.(type) {
	case *ast.Ident:
		return "", e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name, e.Sel.Name
		}
		return "?", e.Sel.Name
	}
	return "", ""
}

// TestEveryPhraseHasChinese reads the tree's sources: what they give to messages must be in the table of phrases.
func TestEveryPhraseHasChinese(t *testing.T) {
	found := readSource(t, "..").phrases()
	if len(found) < 200 {
		t.Fatalf("only %d phrases were found", len(found))
	}
	var missing []string
	for text, where := range found {
		if _, ok := table().find("", text, 0); !ok {
			missing = append(missing, fmt.Sprintf("%s: no Chinese for %q: add it to internal/problem/zh/phrases/", where, text))
		}
	}
	slices.Sort(missing)
	for _, m := range missing {
		t.Error(m)
	}
}

// TestEveryReportHasChinese looks at what the catalogue shows of the stored evaluations.
func TestEveryReportHasChinese(t *testing.T) {
	names, err := filepath.Glob("../engine/reports/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no reports", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var list []struct{ Data, Note string }
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			for _, text := range []string{r.Data, r.Note} {
				if _, ok := table().find("", text, 0); !ok && text != "" {
					t.Errorf("%s: no Chinese for %q: add it to internal/problem/zh/phrases/reports.json", name, text)
				}
			}
		}
	}
}
