// Command bench measures what a request costs: the CPU of a Tollgate process with everything on, and of
// a bare httputil.ReverseProxy, in interleaved rounds of one run on this machine.
//
// Each is a process of its own, as are the upstream and the load; only the CPU of the measured process
// counts (user and system). The reverse proxy reads the request body before it forwards it, since the
// unbuffered one breaks a share of fast answers. Settlement runs behind the requests: it is held back
// during the rounds, and its CPU is reported apart.
//
// All traffic stays on the loopback interface, and everything ends by itself.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type workload struct {
	name   string
	body   []byte
	rate   int // requests per second; 0 is as fast as it goes
	bar    float64
	goal   float64
	share  float64 // of the requests that a round has
	stream bool
}

func main() {
	mode := flag.String("mode", "", "internal: upstream, proxy or load")
	target := flag.String("target", "", "internal: address")
	binary := flag.String("tollgate", "", "the tollgate `binary`; built when empty")
	n := flag.Int("n", 10000, "requests in a round")
	rounds := flag.Int("rounds", 5, "rounds of each workload")
	only := flag.String("only", "", "workload to run alone: json, stream, 64kb or paced")
	streams := flag.Int("streams", 0, "instead: open this many idle streams and report the memory of each")
	engineDir := flag.String("engines", "", "instead: call each capability with the engines installed in this `folder`")
	flag.Parse()
	var err error
	switch *mode {
	case "upstream":
		err = upstream()
	case "proxy":
		err = proxy(*target)
	case "load":
		err = load(*target)
	default:
		if *engineDir == "" { // with engines, a demo computes vectors of the manual while it is measured
			os.Setenv("TOLLGATE_ENGINES", "none")
		}
		switch {
		case *streams > 0:
			err = memory(*binary, *streams)
		case *engineDir != "":
			err = engines(*binary, *engineDir)
		default:
			err = run(*binary, *n, *rounds, *only)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// process is a child whose CPU is read from /proc.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// child starts this program in another mode and reads the address that it prints.
func child(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return &process{cmd, strings.TrimSpace(line)}, err
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// cpu is what the process has used so far, in nanoseconds, from its scheduler statistics.
func (p *process) cpu() (time.Duration, error) {
	var total time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		return 0, errors.New("no scheduler statistics")
	}
	for _, t := range tasks {
		data, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(ns)
	}
	return total, nil
}

// rss is the resident memory in bytes.
func (p *process) rss() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// tollgate starts the product as its demo, selling the upstream's model.
func tollgate(binary, dir, upstream string) (*process, map[string]string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	addr := ln.Addr().String()
	ln.Close()
	cmd := exec.Command(binary, "demo", "-data", dir, "-listen", addr, "-upstream", "http://"+upstream+"/v1", "-settle-every", "1h")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p := &process{cmd, addr}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, nil, fmt.Errorf("tollgate did not start: %w", err)
		}
	}
	env := map[string]string{}
	data, err := os.ReadFile(filepath.Join(dir, "demo.env"))
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			env[k] = strings.Trim(v, "'")
		}
	}
	return p, env, err
}

// bench is the product with an upstream of its own and data that go when it stops.
type bench struct {
	up, gate *process
	env      map[string]string // of the demo
	undo     []func()
}

// start builds the product where no binary is given, and starts it.
func start(binary string) (_ *bench, err error) {
	b := &bench{}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	binary, clean, err := build(binary)
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, clean)
	if b.up, err = child("-mode", "upstream"); err != nil {
		return nil, err
	}
	b.undo = append(b.undo, b.up.stop)
	dir, err := os.MkdirTemp("", "tollgate-bench-data")
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() { os.RemoveAll(dir) })
	if b.gate, b.env, err = tollgate(binary, dir, b.up.addr); err != nil {
		return nil, err
	}
	b.undo = append(b.undo, b.gate.stop)
	return b, nil
}

// stop ends it all, the last first.
func (b *bench) stop() {
	for _, f := range slices.Backward(b.undo) {
		f()
	}
}

func build(binary string) (string, func(), error) {
	if binary != "" {
		return binary, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "tollgate-bench")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "tollgate")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/tollgate")
	cmd.Stderr = os.Stderr
	return binary, func() { os.RemoveAll(dir) }, cmd.Run()
}

func workloads() []workload {
	text := func(n int) string { return strings.Repeat("All work and no play makes a dull model. ", n/41+1)[:n] }
	body := func(size int, stream bool) []byte {
		s := ""
		if stream {
			s = `"stream":true,`
		}
		return []byte(`{"model":"bench",` + s + `"max_tokens":256,"messages":[{"role":"user","content":"` + text(size) + `"}]}`)
	}
	return []workload{
		{"json", body(400, false), 0, 0.90, 0.60, 1, false},
		{"stream", body(400, true), 0, 1.10, 0.95, 0.4, true},
		{"64kb", body(64<<10, false), 0, 0.65, 0.60, 0.5, false},
		{"paced", body(400, false), 500, 1.15, 1.00, 0.2, false},
	}
}

func run(binary string, n, rounds int, only string) error {
	b, err := start(binary)
	if err != nil {
		return err
	}
	defer b.stop()
	gate, env := b.gate, b.env
	bare, err := child("-mode", "proxy", "-target", b.up.addr)
	if err != nil {
		return err
	}
	defer bare.stop()
	key := env["TOLLGATE_KEY"]
	fmt.Printf("CPU per 10,000 requests; median of %d interleaved rounds\n%-8s %14s %14s %8s %8s %8s   %s\n", rounds, "", "reverse proxy", "tollgate", "ratio", "bar", "goal", "spread of ratio")
	served, peak := 0, int64(0)
	for _, w := range workloads() {
		if only != "" && only != w.name {
			continue
		}
		k := max(int(float64(n)*w.share), 100)
		var base, ours, ratio []float64
		for r := -1; r < rounds; r++ {
			a, err := measure(bare, w, "", k)
			if err != nil {
				return fmt.Errorf("%s through the reverse proxy: %w", w.name, err)
			}
			b, err := measure(gate, w, key, k)
			if err != nil {
				return fmt.Errorf("%s through tollgate: %w", w.name, err)
			}
			served += k
			peak = max(peak, gate.rss())
			if r >= 0 { // the first round warms up
				base, ours, ratio = append(base, a), append(ours, b), append(ratio, b/a)
			}
		}
		slices.Sort(ratio)
		fmt.Printf("%-8s %12.3f s %12.3f s %8.2f %8.2f %8.2f   %.2f–%.2f\n", w.name, median(base), median(ours), median(ratio), w.bar, w.goal, ratio[0], ratio[len(ratio)-1])
	}
	before, err := gate.cpu()
	if err != nil {
		return err
	}
	gate.cmd.Process.Signal(syscall.SIGTERM)
	if err := gate.cmd.Wait(); err != nil {
		return err
	}
	ps := gate.cmd.ProcessState
	rest := ps.UserTime() + ps.SystemTime() - before
	fmt.Printf("\nsettlement of %d calls behind them: %.3f s CPU per 10,000\nresident memory under load: %.1f MB\n", served, rest.Seconds()*1e4/float64(served), float64(peak)/1e6)
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// measure runs one round and returns the CPU seconds of p per 10,000 requests.
func measure(p *process, w workload, key string, n int) (float64, error) {
	spec, err := json.Marshal(job{Body: w.body, Key: key, N: n, Rate: w.rate, Stream: w.stream})
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-mode", "load", "-target", p.addr)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(spec), os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return (after - before).Seconds() * 1e4 / float64(n), err
}

// job is what a load process is to do.
type job struct {
	Body   []byte
	Key    string
	N      int
	Rate   int
	Stream bool
}

const connections = 16

// load sends the requests over a few connections and checks each answer.
func load(addr string) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	head := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", addr, j.Key, len(j.Body))
	request := append([]byte(head), j.Body...)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for i := range connections {
		wg.Go(func() { errs[i] = connection(addr, request, &j, &next, start) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func connection(addr string, request []byte, j *job, next *atomic.Int64, start time.Time) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		i := next.Add(1) - 1
		if i >= int64(j.N) {
			return nil
		}
		if j.Rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(j.Rate))))
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
		if err := answer(r); err != nil {
			return err
		}
	}
}

// answer reads one response and checks that it is whole.
func answer(r *bufio.Reader) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 200") {
		rest := make([]byte, 1000)
		n, _ := r.Read(rest)
		return fmt.Errorf("answer %q %s", line, rest[:n])
	}
	length := -1
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		if v, ok := strings.CutPrefix(strings.ToLower(line), "content-length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
	}
	if length >= 0 {
		_, err := r.Discard(length)
		return err
	}
	done := false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 32)
		if err != nil {
			return err
		}
		chunk, err := r.Peek(int(size) + 2)
		if err != nil {
			return err
		}
		done = done || bytes.Contains(chunk, []byte("[DONE]"))
		r.Discard(len(chunk))
		if size == 0 {
			if !done {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
	}
}
