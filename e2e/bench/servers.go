package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const chunks = 50

// upstream is an OpenAI-shaped model server that answers at once. A stream has fifty pieces, each
// written by itself.
func upstream() error {
	text := strings.Repeat("The quick brown fox. ", 10)
	whole := []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"` + text + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":0}}}`)
	piece := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{"content":" fox"},"finish_reason":null}]}` + "\n\n")
	end := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n")
	usage := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}` + "\n\n")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"object":"list","data":[{"id":"bench","object":"model"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if !bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(whole)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		f := w.(http.Flusher)
		n := chunks
		idle := bytes.Contains(body, []byte(`"user":"idle"`))
		for range n {
			w.Write(piece)
			f.Flush()
			if idle {
				<-r.Context().Done()
				return
			}
		}
		w.Write(end)
		if bytes.Contains(body, []byte(`"include_usage":true`)) {
			w.Write(usage)
		}
		io.WriteString(w, "data: [DONE]\n\n")
	})
	return serve(mux)
}

// proxy is the baseline: httputil.ReverseProxy with its request body read first.
func proxy(target string) error {
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: target})
	}, FlushInterval: -1, Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	return serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(400)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.ServeHTTP(w, r)
	}))
}

// serve listens on a free port, prints its address, and ends with the program that started it.
func serve(h http.Handler) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(ln)
}

// memory opens idle streams and tells what each costs the product in resident memory.
func memory(binary string, n int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	b, err := start(binary)
	if err != nil {
		return err
	}
	defer b.stop()
	gate, env := b.gate, b.env
	before := gate.rss()
	body := `{"model":"bench","stream":true,"user":"idle","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
	request := "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + env["TOLLGATE_KEY"] + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range n {
		// Many source addresses, since one has too few ports for all the ends in one machine.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
		c, err := d.Dial("tcp", gate.addr)
		if err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		line, err := bufio.NewReaderSize(c, 512).ReadString('\n')
		if err != nil || !strings.Contains(line, "200") {
			return fmt.Errorf("stream %d: %q %w", i, line, err)
		}
	}
	time.Sleep(3 * time.Second)
	after := gate.rss()
	fmt.Printf("%d open idle streams: %.1f KB each (resident memory %.1f MB before, %.1f MB with them)\n", n, float64(after-before)/float64(n)/1e3, float64(before)/1e6, float64(after)/1e6)
	return nil
}
