package tollgate_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/tollgate-io/tollgate"

// A kind of room says what every room of the kind may import beside what its own line names.
// "engine/*" stands for every engine.
var kinds = map[string]string{
	"foundation": "problem clock",
	"pure":       "problem",
	"domain":     "audit clock db problem",
	"engine":     "blob clock db egress engine/* kv llm money problem secret telemetry",
	"edge":       "clock problem",
}

// rooms is the table of ARCHITECTURE.md: room, kind, imports. A new edge is a new word here and a
// line there. The room server imports everything and has no line.
var rooms = parseTable(`
problem          foundation
clock            foundation
money            foundation
secret           foundation  db
telemetry        foundation
db               foundation
kv               foundation
blob             foundation  secret
egress           foundation  telemetry

llm              pure
rating           pure        money
receipt          pure        money

job              domain      telemetry
org              domain
auth             domain      egress job kv org secret
audit            domain
catalog          domain      egress job kv llm money secret
plan             domain      catalog job money org rating
quota            domain      kv
route            domain      catalog egress telemetry
cache            domain      kv
guard            domain
spool            domain      telemetry
meter            domain      money rating
ledger           domain      money
idem             domain      secret
record           domain      secret
settle           domain      job ledger meter money plan rating receipt secret spool telemetry
billing          domain      blob egress job ledger meter money org plan rating secret settle
payout           domain      billing blob egress job ledger meter money org receipt secret
market           domain      catalog engine/recommend engine/text meter org plan
desk             domain      engine/assist org
certify          domain      catalog egress job org
notify           domain      egress job org secret
watch            domain      catalog egress job meter notify telemetry

engine           foundation
engine/proc      engine
engine/onnx      engine
engine/sherpa    engine
engine/translate engine
engine/text      engine
engine/speech    engine
engine/vision    engine
engine/assist    engine
engine/recommend engine
engine/sandbox   engine

gateway          edge        auth cache catalog db egress engine guard job llm meter money plan quota rating receipt route secret settle spool telemetry
api              edge        auth audit billing cache catalog certify db desk engine/* guard idem job ledger market meter money notify org payout plan quota rating receipt record route secret settle spool telemetry watch
web              edge        catalog engine money plan rating
`)

// noNet are packages of the standard library that pure rules do not touch, nor the gateway, whose
// HTTP server stands in front of it and can be exchanged.
var noNet = map[string][]string{
	"pure":    {"database/sql", "net", "net/http", "os", "os/exec", "syscall"},
	"gateway": {"net/http"},
}

// gatewayDB is all of db that the gateway may use: ids and times as they are stored, no SQL.
var gatewayDB = strings.Fields("UUID NewUUID NewID ParseID Micros Time Bool")

func TestRooms(t *testing.T) {
	for _, fault := range checkRooms(t, os.DirFS(".")) {
		t.Error(fault)
	}
}

type line struct {
	kind  string
	edges map[string]bool
}

func parseTable(text string) map[string]line {
	table := map[string]line{}
	for row := range strings.Lines(text) {
		f := strings.Fields(row)
		if len(f) == 0 {
			continue
		}
		l := line{f[1], map[string]bool{}}
		for _, e := range append(f[2:], strings.Fields(kinds[f[1]])...) {
			l.edges[e] = true
		}
		table[f[0]] = l
	}
	return table
}

// checkRooms reads the imports below internal/, cmd/ and web/ and returns what the table does not allow.
// Test files may import any room.
func checkRooms(t *testing.T, tree fs.FS) []string {
	t.Helper()
	seen := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if path != "." && !under(path, "internal") && !under(path, "cmd") && !under(path, "web") || e.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || !strings.Contains(path, "/") {
			return nil
		}
		src, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, fault := range checkFile(path, file) {
			seen[fault] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	faults := make([]string, 0, len(seen))
	for f := range seen {
		faults = append(faults, f)
	}
	sort.Strings(faults)
	return faults
}

func checkFile(path string, file *ast.File) (faults []string) {
	pkg := path[:strings.LastIndex(path, "/")]
	from := roomOf(strings.TrimPrefix(pkg, "internal/"))
	own, ok := rooms[from]
	switch {
	case under(pkg, "cmd"):
		own = line{"", map[string]bool{"problem": true, "server": true, "engine/onnx": true, "engine/proc": true, "engine/sherpa": true}}
		from = "cmd"
	case from == "server":
	case !ok:
		return []string{fmt.Sprintf("room %s has no line in the table", from)}
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
			faults = append(faults, path+" has an init function")
		}
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return append(faults, path+": "+err.Error())
		}
		forbidden := noNet[own.kind]
		if pkg == "internal/gateway" {
			forbidden = noNet["gateway"]
		}
		if from == "gateway" && imported == module+"/internal/db" {
			faults = append(faults, checkUse(path, file, "db", gatewayDB)...)
		}
		if slices.Contains(forbidden, imported) {
			faults = append(faults, fmt.Sprintf("%s must not import %s", from, imported))
		}
		rest, ours := strings.CutPrefix(imported, module+"/internal/")
		if imported == module+"/web" { // the room that is not below internal/
			rest, ours = "web", true
		}
		if !ours {
			continue
		}
		to := roomOf(rest)
		if strings.HasSuffix(rest, "test") && !strings.HasSuffix(pkg, "test") {
			faults = append(faults, fmt.Sprintf("%s imports %s, which is for tests", path, rest))
		}
		if to == from || from == "server" || own.edges[to] || own.edges["engine/*"] && under(to, "engine") {
			continue
		}
		faults = append(faults, fmt.Sprintf("%s must not import %s", from, to))
	}
	return faults
}

// checkUse returns what the file uses of a package beyond the names allowed.
func checkUse(path string, file *ast.File, pkg string, allowed []string) (faults []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg && !slices.Contains(allowed, s.Sel.Name) {
				faults = append(faults, fmt.Sprintf("%s uses %s.%s", path, pkg, s.Sel.Name))
			}
		}
		return true
	})
	return faults
}

// roomOf names the room of a package below internal/: its first folder, or two for an engine. What tests of engines share is the
// contract's.
func roomOf(pkg string) string {
	parts := strings.Split(pkg, "/")
	if parts[0] == "engine" && len(parts) > 1 && parts[1] != "enginetest" {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func under(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// TestRoomsCatchesFaults plants one fault per rule in a small tree.
func TestRoomsCatchesFaults(t *testing.T) {
	file := func(imports ...string) *fstest.MapFile {
		src := "package p\n"
		for _, i := range imports {
			if room, ok := strings.CutPrefix(i, "~"); ok {
				i = module + "/internal/" + room
			}
			src += fmt.Sprintf("import _ %q\n", i)
		}
		return &fstest.MapFile{Data: []byte(src)}
	}
	sound := fstest.MapFS{
		"main.go":                            file("~nowhere"), // the root is not a room
		"cmd/tollgate/main.go":               file("os", "~server"),
		"internal/server/server.go":          file("net/http", "~gateway", "~gateway/front", "~engine/text"),
		"internal/gateway/gateway.go":        file("~llm/openai", "~settle", "~problem"),
		"internal/gateway/front/front.go":    file("net/http", "~gateway"),
		"internal/org/org.go":                file("~db", "~audit", "~clock"),
		"internal/org/org_test.go":           file("~db/dbtest", "~server"),
		"internal/rating/deep/below/x.go":    file("~money", "~rating"),
		"internal/engine/assist/assist.go":   file("~engine/text", "~llm"),
		"internal/api/api.go":                file("~engine/vision", "~org"),
		"web/web.go":                         file("net/http", "~plan"),
		"internal/kv/kvtest/suite.go":        file("testing", "~kv"),
		"internal/org/testdata/broken/no.go": {Data: []byte("this is not Go")},
	}
	if got := checkRooms(t, sound); len(got) > 0 {
		t.Fatalf("a sound tree has faults: %q", got)
	}
	for _, c := range []struct {
		name, path, want string
		file             *fstest.MapFile
	}{
		{"unlisted edge", "internal/org/x.go", "org must not import auth", file("~auth")},
		{"edge from a subpackage", "internal/rating/deep/x.go", "rating must not import db", file("~db")},
		{"edge to a subpackage", "internal/quota/x.go", "quota must not import llm", file("~llm/sse")},
		{"upwards", "internal/db/x.go", "db must not import org", file("~org")},
		{"to the server", "internal/gateway/x.go", "gateway must not import server", file("~server")},
		{"no line", "internal/misc/x.go", "room misc has no line in the table", file()},
		{"no line, engine", "internal/engine/magic/x.go", "room engine/magic has no line in the table", file()},
		{"domain to engine", "internal/settle/x.go", "settle must not import engine/text", file("~engine/text")},
		{"engine to money rules", "internal/engine/text/x.go", "engine/text must not import ledger", file("~ledger")},
		{"pure on the network", "internal/llm/openai/x.go", "llm must not import net/http", file("net/http")},
		{"server in the gateway", "internal/gateway/x.go", "gateway must not import net/http", file("net/http")},
		{"test help in the product", "internal/org/x.go", "internal/org/x.go imports db/dbtest, which is for tests", file("~db/dbtest")},
		{"SQL in the pages", "web/x.go", "web must not import db", file("~db")},
		{"edge to the pages", "internal/api/x.go", "api must not import web", file(module + "/web")},
		{"command past the server", "cmd/tollgate/x.go", "cmd must not import org", file("~org")},
		{"SQL in the gateway", "internal/gateway/x.go", "internal/gateway/x.go uses db.Tx",
			&fstest.MapFile{Data: []byte("package p\nimport \"" + module + "/internal/db\"\nvar id db.UUID\nfunc f(*db.Tx) {}")}},
		{"registration", "internal/org/x.go", "internal/org/x.go has an init function", &fstest.MapFile{Data: []byte("package p\nfunc init() {}")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := fstest.MapFS{c.path: c.file}
			for p, f := range sound {
				tree[p] = f
			}
			if diff := cmp.Diff([]string{c.want}, checkRooms(t, tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
