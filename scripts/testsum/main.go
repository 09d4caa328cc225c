// Command testsum runs "go test" with the arguments given, shows what failed with its output, one
// line per package otherwise, and counts. It exits with 1 if anything failed.
//
// A test that has subtests is not counted beside them. A package that does not build, or ends
// outside of a test, counts as one failure. If TESTSUM_COUNTS names a file, "PASSED FAILED" is
// written to it for scripts/test to add up.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"
)

func main() {
	s, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		s.failed++
	}
	fmt.Printf("go test: %d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	if name := os.Getenv("TESTSUM_COUNTS"); name != "" {
		if err := os.WriteFile(name, fmt.Appendf(nil, "%d %d\n", s.passed, s.failed), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
	}
	if s.failed > 0 {
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (*summary, error) {
	s := newSummary(out)
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	if err := s.read(pipe); err != nil {
		return s, err
	}
	err = cmd.Wait()
	s.rest()
	if err != nil && s.failed == 0 {
		return s, fmt.Errorf("go test: %w", err) // bad arguments, say
	}
	return s, nil
}

// event is what go test -json prints (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// id names a test; the test is empty for what a package prints outside of tests.
type id struct{ pkg, test string }

type summary struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[id]string // of tests that run, or have failed
	parent                  map[id]bool   // tests that have subtests
	failures                map[string]int
	builds                  map[string]string // output of the compiler by import path
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[id]string{}, parent: map[id]bool{}, failures: map[string]int{}, builds: map[string]string{}}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			var e event
			if json.Unmarshal([]byte(text), &e) != nil {
				fmt.Fprint(s.out, text) // not ours: show it
			} else {
				s.event(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) event(e event) {
	k := id{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		s.builds[e.ImportPath] += e.Output
	case e.Action == "output":
		s.output[k] += e.Output
	case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
	case e.Test == "":
		s.endPackage(e)
	default:
		s.endTest(k, e.Action)
	}
}

func (s *summary) endTest(k id, action string) {
	if i := strings.LastIndex(k.test, "/"); i >= 0 {
		s.parent[id{k.pkg, k.test[:i]}] = true
	}
	text := s.output[k]
	delete(s.output, k)
	switch {
	case action == "fail":
		// A parent has failed because of a child that has been counted, unless it is alone.
		if !s.parent[k] || s.failures[k.pkg] == 0 {
			s.failed++
			s.failures[k.pkg]++
		}
		fmt.Fprintf(s.out, "--- FAIL %s %s\n%s", k.pkg, k.test, text)
	case s.parent[k]:
	case action == "skip":
		s.skipped++
		fmt.Fprintf(s.out, "--- skipped %s %s\n%s", k.pkg, k.test, text)
	default:
		s.passed++
	}
}

func (s *summary) endPackage(e event) {
	if e.Action == "fail" && s.failures[e.Package] == 0 {
		s.failed++
		s.failures[e.Package]++
		s.dump(e.Package)
	}
	if e.Action != "skip" { // a package without tests
		fmt.Fprintf(s.out, "%s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
	}
	for k := range s.output {
		if k.pkg == e.Package {
			delete(s.output, k)
		}
	}
}

// dump shows what a package printed that ended in no test: it does not build, or has crashed or
// timed out, in which case the tests that were running tell most.
func (s *summary) dump(pkg string) {
	var tests []string
	for k := range s.output {
		if k.pkg == pkg {
			tests = append(tests, k.test)
		}
	}
	sort.Strings(tests)
	for _, test := range tests {
		fmt.Fprintf(s.out, "--- FAIL %s %s\n%s", pkg, test, s.output[id{pkg, test}])
	}
	for path, text := range s.builds {
		if strings.HasPrefix(path, pkg) {
			fmt.Fprint(s.out, text)
			delete(s.builds, path)
		}
	}
}

// rest shows compiler output that no package claimed.
func (s *summary) rest() {
	if s.failed == 0 {
		return
	}
	for _, text := range s.builds {
		fmt.Fprint(s.out, text)
	}
}
