// Package scripts tests the shell scripts beside it.
package scripts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// installation is a set of declarations, a directory, and an npm and an apt-get that reach no network.
type installation struct {
	t                         *testing.T
	declarations, dir, bin    string
	tarball, integrity, files string // files is the SHA-256 of models/a.onnx
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	base := t.TempDir()
	i := &installation{t: t, declarations: filepath.Join(base, "engines.d"), dir: filepath.Join(base, "engines"), bin: filepath.Join(base, "bin"), tarball: filepath.Join(base, "package.tgz")}
	for _, d := range []string{i.declarations, i.bin} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	content := []byte("weights of a model")
	data := pack(t, map[string][]byte{"package/models/a.onnx": content, "package/LICENSE": []byte("MIT")})
	sum, file := sha512.Sum512(data), sha256.Sum256(content)
	i.integrity, i.files = "sha512-"+base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(file[:])
	i.write(i.tarball, string(data), 0o600)
	i.write(filepath.Join(i.bin, "npm"), "#!/bin/sh\n[ ! -e "+base+"/offline ] || { echo no network >&2; exit 1; }\n"+
		"echo \"$@\" >>"+base+"/npm.calls\ncp "+i.tarball+" ./some-package-1.0.0.tgz\n", 0o700)
	i.write(filepath.Join(i.bin, "apt-get"), "#!/bin/sh\necho \"$@\" >>"+base+"/apt.calls\nexit 100\n", 0o700)
	return i
}

func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (i *installation) write(path, text string, mode os.FileMode) {
	i.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		i.t.Fatal(err)
	}
}

// declare writes a declaration; $I and $S stand for the package's integrity and the file's checksum.
func (i *installation) declare(component, text string) {
	i.t.Helper()
	i.write(filepath.Join(i.declarations, component), strings.NewReplacer("$I", i.integrity, "$S", i.files).Replace(text), 0o600)
}

// run runs the script and returns what it said and its exit status.
func (i *installation) run(args ...string) (said string, status int) {
	i.t.Helper()
	cmd := exec.Command("./install-engines", append([]string{i.dir}, args...)...)
	cmd.Env = append(os.Environ(), "INSTALL_ENGINES_D="+i.declarations, "PATH="+i.bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		i.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (i *installation) calls(of string) int {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(i.dir), of+".calls"))
	if err != nil {
		return 0
	}
	return strings.Count(string(data), "\n")
}

type entry struct{ Component, Kind, Name, Version, SHA256 string }

func (i *installation) manifest() (all []entry) {
	i.t.Helper()
	data, err := os.ReadFile(filepath.Join(i.dir, "manifest.json"))
	if err != nil {
		i.t.Fatal(err)
	}
	if err := json.Unmarshal(data, &all); err != nil {
		i.t.Fatalf("%v in %s", err, data)
	}
	return all
}

const vision = "# weights\n\nnpm @some/package 1.0.0 $I\nfile models/a.onnx models/vision/a.onnx $S\n"

func TestInstall(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.declare("vision", vision+"run cp {dir}/models/vision/a.onnx {dir}/models/vision/b.onnx\n@no-such-machine deb nothing\n")
	said, status := i.run()
	if status != 0 || !strings.Contains(said, "(new)") {
		t.Fatalf("%d: %s", status, said)
	}
	got, err := os.ReadFile(filepath.Join(i.dir, "models/vision/b.onnx"))
	if err != nil || string(got) != "weights of a model" {
		t.Fatalf("%q %v", got, err)
	}
	want := []entry{
		{"vision", "file", "models/vision/a.onnx", "1.0.0", i.files},
		{"vision", "file", "models/vision/b.onnx", "", i.files},
		{"vision", "npm", "@some/package", "1.0.0", ""},
		{"vision", "run", "cp {dir}/models/vision/a.onnx {dir}/models/vision/b.onnx", "", ""},
	}
	if diff := cmp.Diff(want, i.manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	// Again, without a network and without the cache: nothing is fetched.
	i.offline()
	if err := os.RemoveAll(filepath.Join(i.dir, "cache")); err != nil {
		t.Fatal(err)
	}
	if said, status = i.run(); status != 0 || strings.Contains(said, "(new)") || i.calls("npm") != 1 {
		t.Errorf("again: %d, %d downloads: %s", status, i.calls("npm"), said)
	}
	if diff := cmp.Diff(want, i.manifest()); diff != "" {
		t.Errorf("manifest after it (-want +got):\n%s", diff)
	}
}

func (i *installation) offline() {
	i.t.Helper()
	i.write(filepath.Join(filepath.Dir(i.dir), "offline"), "", 0o600)
}

// TestInstallRepairs: a file that was changed is taken from the cache anew.
func TestInstallRepairs(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.declare("vision", vision)
	if said, status := i.run(); status != 0 {
		t.Fatal(said)
	}
	i.offline()
	path := filepath.Join(i.dir, "models/vision/a.onnx")
	i.write(path, "something else", 0o600)
	if said, status := i.run(); status != 0 {
		t.Fatal(said)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "weights of a model" {
		t.Errorf("%q %v", got, err)
	}
}

// TestInstallFails: each failure is told with its component, the others are installed, and the status is 1.
func TestInstallFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, want string }{
		"wrong integrity":   {"npm @some/package 1.0.1 sha512-AAAA\nfile models/a.onnx a $S", "not what was pinned"},
		"no integrity":      {"npm @some/package 1.0.1 latest", "no integrity"},
		"wrong checksum":    {"npm @some/package 1.0.0 $I\nfile models/a.onnx a 00", "not what was pinned"},
		"no such file":      {"npm @some/package 1.0.0 $I\nfile models/b.onnx a 00", "has no file models/b.onnx"},
		"file alone":        {"file models/a.onnx a $S", "before its npm line"},
		"outside":           {"npm @some/package 1.0.0 $I\nfile models/a.onnx ../a $S", "not allowed"},
		"absolute":          {"npm @some/package 1.0.0 $I\nfile models/a.onnx /a $S", "not allowed"},
		"run":               {"run sh -c false", "failed"},
		"build":             {"build ./no/such/package bin/x", "does not build"},
		"unknown":           {"fetch everything", "not understood"},
		"too few words":     {"npm @some/package", "not understood"},
		"a missing package": {"deb no-such-debian-package", "no-such-debian-package"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t)
			i.declare("broken", c.line+"\nrun touch {dir}/after\ncomponent second\nrun touch {dir}/second\n")
			i.declare("vision", vision)
			said, status := i.run()
			if status != 1 || !strings.Contains(said, "broken: ") || !strings.Contains(said, c.want) || !strings.Contains(said, "failed: broken;") {
				t.Errorf("%d: %s", status, said)
			}
			for file, there := range map[string]bool{"after": false, "second": true, "models/vision/a.onnx": true, "../a": false, "a": false} {
				if _, err := os.Stat(filepath.Join(i.dir, file)); (err == nil) != there {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// TestInstallSome installs components by name and keeps what the manifest says of the others.
func TestInstallSome(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.declare("vision", vision+"component faces\nrun touch {dir}/faces\n")
	i.declare("speech", "run touch {dir}/speech\n")
	if said, status := i.run("speech"); status != 0 || i.calls("npm") != 0 {
		t.Fatalf("%d: %s", status, said)
	}
	if said, status := i.run("faces"); status != 0 || i.calls("npm") != 0 {
		t.Fatalf("%d: %s", status, said)
	}
	want := []entry{
		{"faces", "file", "faces", "", emptySum}, {"faces", "run", "touch {dir}/faces", "", ""},
		{"speech", "file", "speech", "", emptySum}, {"speech", "run", "touch {dir}/speech", "", ""},
	}
	if diff := cmp.Diff(want, i.manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if said, status := i.run("nothing"); status != 2 {
		t.Errorf("%d: %s", status, said)
	}
}

const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestDeclarations holds what is declared against docs/engines.md, and every package is pinned.
func TestDeclarations(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/engines.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("engines.d/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	npm := regexp.MustCompile(`^npm \S+ \d+\.\d+\.\d+\S* sha512-[A-Za-z0-9+/]{86}==$`)
	file := regexp.MustCompile(`^file \S+ \S+ [0-9a-f]{64}$`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) > 0 && words[0][0] == '@' {
				words = words[1:]
			}
			if len(words) == 0 || strings.HasPrefix(words[0], "#") {
				continue
			}
			line = strings.Join(words, " ")
			var named []string
			switch words[0] {
			case "npm":
				if !npm.MatchString(line) {
					t.Errorf("%s: not pinned: %s", f, line)
				}
				named = words[1:2]
			case "file":
				if !file.MatchString(line) {
					t.Errorf("%s: not pinned: %s", f, line)
				}
			case "deb":
				named = words[1:]
			}
			for _, name := range named {
				if !bytes.Contains(page, []byte(name)) && !bytes.Contains(page, []byte(strings.Replace(name, "arm64", "x64", 1))) {
					t.Errorf("docs/engines.md has no row for %s of %s", name, f)
				}
			}
		}
	}
}
