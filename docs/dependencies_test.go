package docs

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDependencies holds dependencies.md against go.mod and every package.json: what is asked for has a
// line, and what has a line is asked for.
func TestDependencies(t *testing.T) {
	t.Parallel()
	page := read(t, "dependencies.md")
	direct, all := goModules(t)
	compareDependencies(t, "go.mod", listed(page, "## Go modules"), direct, all)
	npm := npmPackages(t)
	compareDependencies(t, "package.json", listed(page, "## npm packages"), npm, npm)
}

func compareDependencies(t *testing.T, where string, listed, direct, all map[string]bool) {
	t.Helper()
	for name := range direct {
		if !listed[name] {
			t.Errorf("dependencies.md has no line for %s, which %s requires", name, where)
		}
	}
	for name := range listed {
		if !all[name] {
			t.Errorf("dependencies.md has a line for %s, which is not in %s any more", name, where)
		}
	}
}

// listed returns the names in the first column of the table below the heading.
func listed(page, heading string) map[string]bool {
	_, section, _ := strings.Cut(page, heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	names := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1) {
		names[m[1]] = true
	}
	return names
}

// goModules returns the modules that go.mod requires: those imported by this tree, and all.
func goModules(t *testing.T) (direct, all map[string]bool) {
	t.Helper()
	text := read(t, "../go.mod")
	direct, all = map[string]bool{}, map[string]bool{}
	require := regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.]+\.[a-z]+/\S+) v\S+( // indirect)?$`)
	for _, m := range require.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
		if m[2] == "" {
			direct[m[1]] = true
		}
	}
	if len(all) == 0 {
		t.Fatal("no module found in go.mod")
	}
	return direct, all
}

// npmPackages returns what the package.json files of this tree require.
func npmPackages(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	walkTree(t, func(path string) {
		if filepath.Base(path) != "package.json" {
			return
		}
		var file struct{ Dependencies, DevDependencies map[string]string }
		if err := json.Unmarshal([]byte(read(t, path)), &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for name := range file.Dependencies {
			names[name] = true
		}
		for name := range file.DevDependencies {
			names[name] = true
		}
	})
	return names
}

// walkTree calls f for each file of the tree that is ours: not what tools made or downloaded.
func walkTree(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (name == "node_modules" || name == "testdata" || name == "tollgate-data" || name == "bin" || strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case !d.IsDir():
			f(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
