// Package demo runs the real binary's demo for end-to-end tests: on a free loopback port, with its data in a
// folder of the test's, until the test ends. What it checks by itself is that the demo starts, that it stops
// cleanly when told to, and, in a run with the race detector, that it had no race.
package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Demo is a running demo.
type Demo struct {
	Binary string            // the product
	Dir    string            // its data
	URL    string            // without a path
	Env    map[string]string // demo.env: TOLLGATE_KEY and so on

	t   testing.TB
	log string
}

// Build compiles the product into the test's folder, with the race detector if the test has it. What was built
// before is kept in .cache, for all tests: the linker takes long.
func Build(t testing.TB) string {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	kept := filepath.Join(filepath.Dir(self), "..", "..", ".cache", "e2e")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(kept, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(kept, "tollgate")
	args := []string{"build"}
	if race {
		binary += "-race"
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "-o", binary, "github.com/tollgate-io/tollgate/cmd/tollgate")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the product does not build: %v\n%s", err, out)
	}
	own := filepath.Join(t.TempDir(), "tollgate")
	data, err := os.ReadFile(binary)
	if err == nil {
		err = os.WriteFile(own, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// Start builds the product and starts `tollgate demo` with more arguments.
func Start(t testing.TB, args ...string) *Demo {
	t.Helper()
	addr := freeAddr(t)
	dir := t.TempDir()
	d := &Demo{Binary: Build(t), Dir: filepath.Join(dir, "data"), URL: "http://" + addr, t: t, log: filepath.Join(dir, "log")}
	out, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(d.Binary, append([]string{"demo", "-data", d.Dir, "-listen", addr}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	// Go alone is what most see first; and a demo with the neural engines gives the manual its vectors behind the test.
	cmd.Env = append(os.Environ(), "TOLLGATE_ENGINES="+filepath.Join(dir, "no-engines"))
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { d.stop(cmd.Process, ended) })
	d.up(ended)
	d.Env = d.env()
	return d
}

// up waits until the demo serves and has written its demo.env.
func (d *Demo) up(ended chan error) {
	d.t.Helper()
	tick, limit := time.NewTicker(20*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer limit.Stop()
	for {
		if resp, err := http.Get(d.URL + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-ended:
			ended <- err // for stop
			d.t.Fatalf("the demo ended: %v\n%s", err, d.Log())
		case <-limit.C:
			d.t.Fatalf("the demo is not ready\n%s", d.Log())
		case <-tick.C:
		}
	}
}

// stop tells the demo to stop and waits for it.
func (d *Demo) stop(p *os.Process, ended chan error) {
	// An error means that it has ended already, which is found below.
	_ = p.Signal(syscall.SIGTERM)
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case err := <-ended:
		if err != nil {
			d.t.Errorf("the demo ended with %v\n%s", err, d.Log())
		}
	case <-limit.C:
		_ = p.Signal(syscall.SIGQUIT) // what it waits for stands in the log
		<-ended
		d.t.Errorf("the demo did not stop\n%s", d.Log())
	}
}

// Log is what the demo printed so far.
func (d *Demo) Log() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-16<<10):])
}

// env reads demo.env.
func (d *Demo) env() map[string]string {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(d.Dir, "demo.env"))
	if err != nil {
		d.t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			env[name] = strings.Trim(value, `'"`)
		}
	}
	return env
}

// Call sends a request to the management API or the data plane with the token, and decodes the answer into out
// unless that is nil. Another status than 2xx ends the test.
func (d *Demo) Call(method, path, token string, in, out any) {
	d.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		d.t.Fatal(err)
	}
	if in == nil {
		body = nil
	}
	r, err := http.NewRequest(method, d.URL+path, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = errors.New(resp.Status)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", method, path, err, answer)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
