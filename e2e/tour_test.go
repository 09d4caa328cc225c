// Package e2e holds the end-to-end tests: they drive the real binary, as its users do. This file runs the tour
// of the READMEs.
//
// A tour is made of blocks of a Markdown page, marked by comments that readers do not see:
//
//	<!-- tour -->             before a fenced block: its lines are run, in order, in one shell for the whole page
//	<!-- tour fails -->       the same, but a command of the block must fail
//	<!-- tour eventually -->  the same as the first, but run again for up to half a minute until the output is right;
//	                          for what becomes true a moment later
//	<!-- output -->           before the fenced block that follows: what the block before it prints
//
// In an output … stands for any text within a line, and alone on a line for any number of lines. A block that
// starts the demo (go run ./cmd/tollgate demo …) runs beside the others, on a free port; its output is what it
// has printed once it is ready. 127.0.0.1:8080 in a page means that port.
package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/demo"
)

// TestTour runs the tour of both READMEs.
func TestTour(t *testing.T) {
	var commands []string
	for _, page := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := parseTour(string(text))
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		var all []string
		for _, b := range blocks {
			all = append(all, b.commands)
		}
		if commands == nil {
			commands = all
		} else if strings.Join(commands, "\n") != strings.Join(all, "\n") {
			t.Errorf("the tours have not the same commands:\n%s\n\n%s", strings.Join(commands, "\n"), strings.Join(all, "\n"))
		}
		t.Run(page, func(t *testing.T) { runTour(t, blocks) })
	}
}

// block is a part of a tour.
type block struct {
	line     int // in the page, of the marker
	commands string
	how      string  // "fails", "eventually" or nothing
	output   *string // nil if the page shows none
}

var marker = regexp.MustCompile(`^<!-- (?:tour ?(fails|eventually|)|(output)) -->$`)

// strayed is what was meant to be a marker.
var strayed = regexp.MustCompile(`<!-- *(tour|output)`)

// parseTour finds the tour in a page. A page without one is an error.
func parseTour(page string) ([]block, error) {
	var blocks []block
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(strings.TrimSpace(lines[i]), "```") {
			_, i = fenced(lines, i) // a marker inside is text
			continue
		}
		m := marker.FindStringSubmatch(strings.TrimSpace(lines[i]))
		at := i + 1
		if m == nil {
			if strayed.MatchString(lines[i]) {
				return nil, fmt.Errorf("line %d: no such marker: %s", at, lines[i])
			}
			continue
		}
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) == ""; i++ {
		}
		text, end := fenced(lines, i)
		if end == i {
			return nil, fmt.Errorf("line %d: no fenced block after the marker", at)
		}
		i = end
		switch {
		case m[2] == "":
			blocks = append(blocks, block{line: at, commands: text, how: m[1]})
		case len(blocks) == 0 || blocks[len(blocks)-1].output != nil:
			return nil, fmt.Errorf("line %d: no commands before this output", at)
		default:
			blocks[len(blocks)-1].output = &text
		}
	}
	if len(blocks) == 0 {
		return nil, errors.New("it has no tour: mark its blocks with <!-- tour -->")
	}
	return blocks, nil
}

// fenced returns the text of the fenced block that begins at line i, and the line that ends it; i if there is none.
func fenced(lines []string, i int) (string, int) {
	if i >= len(lines) || !strings.HasPrefix(strings.TrimSpace(lines[i]), "```") {
		return "", i
	}
	indent := lines[i][:strings.Index(lines[i], "`")]
	fence := strings.TrimSpace(lines[i])
	fence = fence[:len(fence)-len(strings.TrimLeft(fence, "`"))]
	var text []string
	for j := i + 1; j < len(lines); j++ {
		if strings.TrimSpace(lines[j]) == fence {
			return strings.Join(text, "\n"), j
		}
		text = append(text, strings.TrimPrefix(lines[j], indent))
	}
	return "", i
}

// published is the address that pages show.
const published = "127.0.0.1:8080"

var startsDemo = regexp.MustCompile(`^(?:go run \./cmd/tollgate|(?:\./)?tollgate) demo( .*)?$`)

// tour is a page under way.
type tour struct {
	t     *testing.T
	demo  *demo.Demo
	shell *shell
}

func runTour(t *testing.T, blocks []block) {
	x := &tour{t: t}
	for _, b := range blocks {
		if m := startsDemo.FindStringSubmatch(strings.TrimSpace(b.commands)); m != nil {
			if x.demo != nil {
				t.Fatalf("line %d: the demo is started already", b.line)
			}
			x.demo = demo.Start(t, strings.Fields(m[1])...)
			if fault := x.check(b, x.demo.Log(), false); fault != "" {
				t.Error(fault)
			}
			continue
		}
		if x.demo == nil {
			x.demo = demo.Start(t)
		}
		if x.shell == nil {
			x.shell = startShell(t, x.demo)
		}
		x.run(b)
	}
}

// run runs a block, as often as it says.
func (x *tour) run(b block) {
	x.t.Helper()
	commands := strings.ReplaceAll(b.commands, published, strings.TrimPrefix(x.demo.URL, "http://"))
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		out, failed := x.shell.run(commands)
		fault := x.check(b, out, failed)
		if fault == "" {
			return
		}
		if b.how != "eventually" || time.Since(began) > 30*time.Second {
			x.t.Error(fault)
			return
		}
	}
}

// check compares what a block did with the page, and says what is different.
func (x *tour) check(b block, out string, failed bool) string {
	if failed != (b.how == "fails") {
		return fmt.Sprintf("line %d: failed is %v:\n%s\n%s", b.line, failed, b.commands, out)
	}
	if b.output == nil {
		return ""
	}
	out = strings.NewReplacer(strings.TrimPrefix(x.demo.URL, "http://"), published, x.demo.Dir, "tollgate-data").Replace(out)
	if good := matches(*b.output, out); good >= 0 {
		return fmt.Sprintf("line %d: from line %d on the output is not what the page shows\n--- the page\n%s\n--- now\n%s", b.line, good+1, tidy(*b.output), tidy(out))
	}
	return ""
}

var (
	colours = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	endings = regexp.MustCompile(`[ \t\r]+(\n|$)`)
)

// tidy removes what nobody sees: colours, blanks at the end of lines, empty lines around.
func tidy(s string) string {
	return strings.Trim(endings.ReplaceAllString(colours.ReplaceAllString(s, ""), "$1"), "\n")
}

// matches compares a pattern's lines with an output. It returns -1 if they match, else how many of the pattern's
// lines do.
func matches(pattern, out string) int {
	lines := strings.Split(tidy(pattern), "\n")
	out = tidy(out) + "\n"
	full := func(n int, end string) bool {
		var re strings.Builder
		for _, line := range lines[:n] {
			if strings.TrimSpace(line) == "…" {
				re.WriteString(`(?:[^\n]*\n)*`)
				continue
			}
			parts := strings.Split(line, "…")
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			re.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
		}
		return regexp.MustCompile(`^` + re.String() + end).MatchString(out)
	}
	if full(len(lines), `$`) {
		return -1
	}
	n := len(lines)
	for n > 0 && !full(n, ``) {
		n--
	}
	return n
}

// shell is one bash in which a page's blocks run, in a folder that has the demo's data as ./tollgate-data and the
// tree's files beside it.
type shell struct {
	t     *testing.T
	dir   string
	in    io.WriteCloser
	out   *bufio.Reader
	block int
}

// prelude makes the commands of a page work without a second build, and records whether one failed.
const prelude = `go() {
	if [ "$1 $2" = "run ./cmd/tollgate" ]; then shift 2; tollgate "$@"; else (cd "$TREE" && command go "$@"); fi
}
set -o pipefail
trap 'failed=1' ERR
`

func startShell(t *testing.T, d *demo.Demo) *shell {
	t.Helper()
	tree, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, dir: t.TempDir()}
	links := map[string]string{"tollgate-data": d.Dir, "tollgate": d.Binary}
	for _, name := range []string{"examples", "docs", "e2e", "scripts"} {
		links[name] = filepath.Join(tree, name)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// Without a terminal curl would print how far it is.
	if err := os.WriteFile(filepath.Join(s.dir, ".curlrc"), []byte("silent\nshow-error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TREE="+tree, "CURL_HOME="+s.dir, "PATH="+s.dir+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "NO_COLOR=1")
	if s.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatalf("the tour needs bash: %v", err)
	}
	limit := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() }) // run sees the end of its output
	t.Cleanup(func() {
		limit.Stop()
		s.in.Close()
		_ = cmd.Wait() // with the status of the last command, which has been seen
	})
	if _, err := io.WriteString(s.in, prelude); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs the commands and returns what they printed, and whether one of them failed.
func (s *shell) run(commands string) (out string, failed bool) {
	s.t.Helper()
	s.block++
	file := filepath.Join(s.dir, ".block"+strconv.Itoa(s.block))
	if err := os.WriteFile(file, []byte(commands+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	end := "--- end of block " + strconv.Itoa(s.block) + ": "
	if _, err := fmt.Fprintf(s.in, "failed=0; { . '%s'; } </dev/null 2>&1; printf '\\n%s%%d\\n' $failed\n", file, end); err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if status, ok := strings.CutPrefix(line, end); ok {
			return strings.TrimSuffix(text.String(), "\n"), strings.TrimSpace(status) != "0"
		}
		text.WriteString(line)
		if err != nil {
			s.t.Fatalf("the shell ended: %v\n%s\n%s", err, commands, text.String())
		}
	}
}

// TestWhatTheDemoPrints runs the commands that the demo tells its user to try.
func TestWhatTheDemoPrints(t *testing.T) {
	d := demo.Start(t)
	_, text, _ := strings.Cut(d.Log(), "Try it, in another terminal:\n")
	var commands []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSuffix(rest, "\n"))
		}
	}
	out, failed := startShell(t, d).run(strings.Join(commands, "\n"))
	if failed || len(commands) < 5 {
		t.Errorf("of %d lines one failed:\n%s\n%s", len(commands), text, out)
	}
	for _, want := range []string{`"cost":`, "data: [DONE]", "USD", "the book is right"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// sample is a page with a tour.
const sample = "# A page\n\n```sh\n<!-- tour -->\n```\n\n" +
	"<!-- tour -->\n```sh\n. tollgate-data/demo.env\nask() { curl \"$TOLLGATE_URL/v1/$1\" -H \"Authorization: Bearer $TOLLGATE_KEY\"; }\n```\n\n" +
	"1. First\n\n   <!-- tour -->\n\n   ```sh\n   curl -i http://127.0.0.1:8080/healthz; echo\n   echo $TOLLGATE_URL; (exit 0)\n   ```\n\n" +
	"   It prints this:\n\n   <!-- output -->\n\n   ```\n   HTTP/1.1 200 OK\n   …\n   {\"status\":\"ok\",\"version\":\"…\"}\n\n   http://127.0.0.1:8080\n   ```\n\n" +
	"<!-- tour fails -->\n```sh\nfalse\necho on\n```\n<!-- output -->\n```text\non\n```\n" +
	"<!-- tour -->\n```sh\nask models | grep -o '\"sandbox\"'\n```\n<!-- output -->\n```\n\"sandbox\"\n```\n" +
	"<!-- tour eventually -->\n```sh\nn=$((n + 1)); echo $n\n```\n<!-- output -->\n```\n2\n```\n"

func TestSampleTour(t *testing.T) {
	blocks, err := parseTour(sample)
	if err != nil || len(blocks) != 5 || blocks[2].how != "fails" || blocks[0].output != nil {
		t.Fatalf("%+v, %v", blocks, err)
	}
	runTour(t, blocks)
}

func TestToursThatAreNone(t *testing.T) {
	for page, want := range map[string]string{
		"# A page\n```sh\n<!-- tour -->\n```\n": "has no tour",
		"<!-- tour -->\ntext":                   "no fenced block",
		"<!-- tour -->\n```sh\nunended":         "no fenced block",
		"<!-- output -->\n```\nx\n```":          "no commands before",
		"<!-- tour quickly -->\n```\nx\n```":    "no such marker",
	} {
		if _, err := parseTour(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", page, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, out string
		want         int
	}{
		{"a\nb", "a\nb\n", -1},
		{"a…c d", "a b c d", -1},
		{"a…", "a", -1},
		{"…\nlast", "one\ntwo\nlast", -1},
		{"first\n…", "first", -1},
		{"a", "\x1b[1ma\x1b[0m  \n", -1},
		{"", "\n", -1},
		{"1.5 (…)", "1.5 (x)\n", -1},
		{"1.5", "1x5", 0},
		{"a\nb", "a\nb\nc", 2},
		{"a\nb\nc", "a\nB\nc", 1},
		{"a…", "b", 0},
	} {
		if got := matches(c.pattern, c.out); got != c.want {
			t.Errorf("%q with %q: %d, want %d", c.pattern, c.out, got, c.want)
		}
	}
}

func TestShellKeepsVariablesAndSeesFailures(t *testing.T) {
	s := startShell(t, &demo.Demo{Dir: t.TempDir(), Binary: filepath.Join(t.TempDir(), "tollgate")})
	for _, c := range []struct {
		commands, out string
		failed        bool
	}{
		{"x=1\nexport y=2", "", false},
		{"echo $x$y; echo err >&2", "12\nerr\n", false},
		{"false | cat", "", true},
		{"no-such-command; true", "", true},
		{"printf 'no newline'", "no newline", false},
		{"cat", "", false},
		{"if false; then echo no; fi; false || echo yes", "yes\n", false},
	} {
		out, failed := s.run(c.commands)
		if failed != c.failed || c.out != "" && out != c.out {
			t.Errorf("%q: %q, failed %v", c.commands, out, failed)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "tollgate-data")); errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
