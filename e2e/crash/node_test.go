package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// node is a process that can be killed and started again on the same data.
type node struct {
	t    *testing.T
	args []string
	env  []string
	addr string
	log  string // file with what it printed

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; read after done
}

// start runs the process and returns at once.
func (n *node) start() {
	n.t.Helper()
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	n.cmd = exec.Command(n.args[0], n.args[1:]...)
	n.cmd.Env = append(append(os.Environ(), "TOLLGATE_ENGINES=none"), n.env...)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	// A test that dies takes its processes along.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	cmd, done := n.cmd, make(chan struct{})
	n.done = done
	go func() {
		n.err = cmd.Wait()
		close(done)
	}()
}

// up waits until the node serves.
func (n *node) up() {
	n.t.Helper()
	eventually(n.t, time.Minute, func() (bool, string) {
		select {
		case <-n.done:
			n.t.Fatalf("%s ended: %v\n%s", n.args[0], n.err, tail(n.log, 30))
		default:
		}
		resp, err := http.Get("http://" + n.addr + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
}

// look searches what the node printed for what must never happen.
func (n *node) look() {
	n.t.Helper()
	data, err := os.ReadFile(n.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.t.Error(err)
	}
	for _, bad := range []string{"panic", "fatal error", "DATA RACE", "in suspense"} {
		if i := bytes.Index(data, []byte(bad)); i >= 0 {
			n.t.Errorf("a process printed:\n%s", data[max(i-500, 0):min(i+6000, len(data))])
		}
	}
}

// kill is kill -9.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	// An error means that it has ended already.
	_ = n.cmd.Process.Kill()
	<-n.done
}

// term asks for a graceful stop.
func (n *node) term() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
}

// wait is for the end of the process; it must have gone well.
func (n *node) wait(most time.Duration) {
	n.t.Helper()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-n.done:
	case <-timer.C:
		// What it waits for stands in the log.
		_ = n.cmd.Process.Signal(syscall.SIGQUIT)
		<-n.done
		n.t.Fatalf("not stopped after %v\n%s", most, tail(n.log, 200))
	}
	if n.err != nil {
		n.t.Fatalf("stopped with %v\n%s", n.err, tail(n.log, 60))
	}
}

func (n *node) stop() {
	n.t.Helper()
	n.term()
	n.wait(time.Minute)
}

// The exit codes of a process that refuses to run.
const (
	exitInUse       = 5
	exitUnavailable = 6
)

// fails waits for the end of a process that must refuse to run, and returns what it printed.
func (n *node) fails(code int, most time.Duration) string {
	n.t.Helper()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-n.done:
	case <-timer.C:
		n.t.Fatalf("it runs, and should have refused to\n%s", tail(n.log, 30))
	}
	var exit *exec.ExitError
	if !errors.As(n.err, &exit) || exit.ExitCode() != code {
		n.t.Errorf("ended with %v, want exit code %d", n.err, code)
	}
	return tail(n.log, 30)
}

// config is what the tests set of a node's configuration; zero values leave the default.
type config struct {
	data       string
	durability string
	drain      time.Duration
}

// node prepares a node of the installation; it is not started.
func (w *world) node(c config) *node {
	w.t.Helper()
	if c.data == "" {
		c.data = w.data
	}
	name := fmt.Sprintf("node-%d", w.nodes.Add(1))
	n := &node{t: w.t, addr: freeAddr(w.t), log: filepath.Join(w.dir, name+".log")}
	var b bytes.Buffer
	fmt.Fprintf(&b, "listen: %s\ndata: %s\ndatabase: env:CRASH_DATABASE\nsealer_key: %s\n", n.addr, c.data, filepath.Join(w.data, "sealer.key"))
	fmt.Fprintf(&b, "upstream_allow: [loopback]\nlog: {level: warn, format: text, requests: \"off\"}\n")
	if c.durability != "" {
		fmt.Fprintf(&b, "durability: %s\n", c.durability)
	}
	if c.drain != 0 {
		fmt.Fprintf(&b, "drain: %s\n", c.drain)
	}
	file := filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	n.args = []string{binary, "serve", "-config", file}
	n.env = []string{"CRASH_DATABASE=" + w.dsn} // it has a password: not for the list of processes
	w.t.Cleanup(func() {
		n.kill()
		n.look()
	})
	return n
}

// freeAddr finds a loopback port that nothing listens on, below those that the system gives to clients: it must
// still be free when a killed node is started again.
func freeAddr(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(9000))
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

// get reads a page of the node.
func (n *node) get(path, key string) (int, string) {
	n.t.Helper()
	r, err := http.NewRequest("GET", "http://"+n.addr+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}
