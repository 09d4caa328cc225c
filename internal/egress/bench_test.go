//go:build unix

package egress

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// benchServer in the environment makes the test binary serve instead of test, so that what a
// benchmark's process spends is the client's alone.
const benchServer = "EGRESS_BENCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) != "" {
		serveBench()
		return
	}
	os.Exit(m.Run())
}

// serveBench answers /json, /stream with 50 chunks as fast as it can, and /stream/paced with one every
// millisecond, until its standard input ends.
func serveBench() {
	answer := []byte(`{"id":"x","choices":[{"message":{"content":"` + strings.Repeat("word ", 80) + `"}}]}`)
	event := []byte("data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("w", 120) + "\"}}]}\n\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("http://" + l.Addr().String() + "\n")
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !strings.HasPrefix(r.URL.Path, "/stream") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for range 50 {
			_, _ = w.Write(event)
			w.(http.Flusher).Flush()
			if r.URL.Path == "/stream/paced" {
				<-pace.C
			}
		}
	}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func startBenchServer(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(url)
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkClient compares the own client with net/http's Transport on 16 callers:
//
//	go test -run - -bench Client -benchtime 3s ./internal/egress
func BenchmarkClient(b *testing.B) {
	url := startBenchServer(b)
	own := endpoint(b, local(b), url, EndpointOptions{})
	std := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	for _, c := range []struct {
		name, path string
		body       []byte
	}{
		{"json", "/json", bytes.Repeat([]byte("x"), 500)},
		{"stream", "/stream", bytes.Repeat([]byte("x"), 500)},
		{"paced", "/stream/paced", bytes.Repeat([]byte("x"), 500)},
		{"64KB", "/json", bytes.Repeat([]byte("x"), 64<<10)},
	} {
		run := func(b *testing.B, one func(*testing.PB, *atomic.Int64)) {
			var failed atomic.Int64
			b.SetParallelism(8)
			b.ReportAllocs()
			begin := cpu()
			b.RunParallel(func(pb *testing.PB) { one(pb, &failed) })
			b.ReportMetric(float64(cpu()-begin)/float64(b.N), "cpu-ns/op")
			if n := failed.Load(); n > 0 {
				b.Fatal(n, "failed")
			}
		}
		b.Run(c.name+"/own", func(b *testing.B) {
			run(b, func(pb *testing.PB, failed *atomic.Int64) {
				var resp Response
				r := &Request{Method: "POST", Path: c.path, Head: []byte("Content-Type: application/json\r\n"), Parts: [4][]byte{c.body}}
				for pb.Next() {
					err := own.Do(r, &resp)
					for err == nil {
						if _, err = resp.Next(); err == nil && resp.Ended() {
							err = io.EOF
						}
					}
					if err != io.EOF {
						failed.Add(1)
					}
					resp.Release()
				}
			})
		})
		b.Run(c.name+"/net-http", func(b *testing.B) {
			run(b, func(pb *testing.PB, failed *atomic.Int64) {
				buf := make([]byte, 32<<10)
				for pb.Next() {
					resp, err := std.Post(url+c.path, "application/json", bytes.NewReader(c.body))
					if err != nil {
						failed.Add(1)
						continue
					}
					for err == nil {
						_, err = resp.Body.Read(buf)
					}
					resp.Body.Close()
				}
			})
		})
	}
}
