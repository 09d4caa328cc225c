package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// perToken is a card of a millionth for each token.
func perToken(t *testing.T) *rating.Card {
	t.Helper()
	card, err := rating.ParseCard([]byte(`{"currency":"USD","lines":[{"name":"input","meter":"tokens","when":{"class":"input"},"pricing":"per_unit","price":"1","per":1000000},
		{"name":"output","meter":"tokens","when":{"class":"output"},"pricing":"per_unit","price":"1","per":1000000}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return card
}

// raw sends bytes as they are on a connection of their own.
func (x *testApp) raw(request string) *net.TCPConn {
	x.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		x.t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		x.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// rawChat is a chat request as bytes.
func (x *testApp) rawChat(model, rest string) string {
	body := `{"model":"` + model + `",` + rest + `"messages":[{"role":"user","content":"hi"}]}`
	return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + x.key + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// TestHalfClosedClient shuts its side of the connection, which is leaving: what it still reads must not look like
// a complete answer.
func TestHalfClosedClient(t *testing.T) {
	x := startApp(t, nil)
	c := x.raw(x.rawChat("fake-slow", ""))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(c); len(answer) > 0 {
		t.Errorf("before the answer began: %s", answer)
	}
	c = x.raw(x.rawChat("fake-long", `"stream":true,`))
	stream := bufio.NewReader(c)
	if _, err := stream.ReadString('}'); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(stream); strings.HasSuffix(string(answer), "\r\n0\r\n\r\n") {
		t.Errorf("a stream that was cut short ended cleanly: %s", answer[max(0, len(answer)-300):])
	}
}

// TestUpstreamAccountIsNotTheCallers has the upstream complain of things between it and the provider.
func TestUpstreamAccountIsNotTheCallers(t *testing.T) {
	x := startApp(t, nil)
	for status, want := range map[int]int{402: 503, 407: 503, 405: 502, 410: 502, 301: 502, 413: 413, 422: 422} {
		model := "fake?status=" + strconv.Itoa(status)
		key := x.sellAt("upstream"+strconv.Itoa(status), "upstream", model, perToken(t))
		a := x.post("/v1/chat/completions", key, `{"model":"upstream`+strconv.Itoa(status)+`","messages":[]}`)
		if a.status != want {
			t.Errorf("%d came out as %d: %s", status, a.status, a.body)
		}
		if want == 503 && a.header.Get("Retry-After") == "" {
			t.Errorf("%d came out without Retry-After", status)
		}
	}
}

// TestRefusalBeforeTheBody refuses by the head alone: the answer must not wait for a body that does not come.
func TestRefusalBeforeTheBody(t *testing.T) {
	x := startApp(t, nil)
	var conns []net.Conn
	for _, request := range []string{
		"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nonsense\r\nContent-Length: 1000\r\n\r\n",
		"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + x.key + "\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n",
	} {
		conns = append(conns, x.raw(request))
	}
	for _, c := range conns {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != 401 && r.StatusCode != 422 {
			t.Error(r.Status)
		}
		if _, err := io.ReadAll(c); err != nil { // and the connection ends
			t.Error(err)
		}
	}
}

// addUpstream adds an upstream of the demo's provider.
func (x *testApp) addUpstream(name, url string) {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		_, err = x.Catalog.CreateUpstreamTx(tx, demoActor, o.ID, catalog.UpstreamInput{Name: name, URL: url})
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// TestAnswerOfTheWrongShape has the upstream stream where nobody asked for it, and the reverse: no client can read that.
func TestAnswerOfTheWrongShape(t *testing.T) {
	x := startApp(t, nil)
	for name, c := range map[string]struct{ kind, body, rest string }{
		"json":   {"application/json", `{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, `"stream":true,`},
		"stream": {"text/event-stream", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", ""},
	} {
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			io.WriteString(w, c.body)
		}))
		defer up.Close()
		x.addUpstream(name, up.URL)
		key := x.sellAt("shape-"+name, name, "m", perToken(t))
		a := x.post("/v1/chat/completions", key, `{"model":"shape-`+name+`",`+c.rest+`"messages":[]}`)
		if a.status != 502 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		if e := x.event(a.id()); e.Charge != 0 || e.Outcome != "failed" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestHead(t *testing.T) {
	x := startApp(t, nil)
	r, _ := http.NewRequestWithContext(t.Context(), "HEAD", x.url+"/v1/models", nil)
	if a := x.do(r, x.key); a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Length") == "" {
		t.Error(a.status, a.header)
	}
}
