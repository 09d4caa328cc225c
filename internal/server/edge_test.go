package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/org"
)

func TestPostgreSQL(t *testing.T) {
	x := startApp(t, func(c *Config) { c.Database = dbtest.PostgresDSN(t) })
	if x.DB.Engine() != db.PostgreSQL {
		t.Fatal(x.DB.Engine())
	}
	for _, stream := range []string{"", `"stream":true,`} {
		if e := x.event(x.chat("fake", stream).id()); e.Charge == 0 {
			t.Errorf("%+v", e)
		}
	}
}

func TestStrictDurability(t *testing.T) {
	x := startApp(t, func(c *Config) { c.Durability = "strict" })
	for _, stream := range []string{"", `"stream":true,`} {
		if a := x.chat("fake", stream); a.status != 200 || a.err != nil {
			t.Fatal(a.status, a.err)
		}
	}
}

// TestNodesShareLimits has two nodes on one database and one Redis: a key's limit holds over both.
func TestNodesShareLimits(t *testing.T) {
	redis := os.Getenv("TOLLGATE_TEST_REDIS")
	if redis == "" && os.Getenv("TOLLGATE_TEST_REQUIRE") == "" {
		t.Skip("needs TOLLGATE_TEST_REDIS")
	}
	dsn := dbtest.PostgresDSN(t)
	share := func(c *Config) { c.Database, c.Redis = dsn, redis }
	a := startApp(t, share)
	b := startApp(t, share)
	key := a.newKeyWith(auth.Draft{Limits: auth.Limits{Requests: 3}})
	waitFor(t, "the other node to know the key", func() bool { return b.get("/v1/models", key).status == 200 })
	allowed := 0
	for i := range 8 {
		x := a
		if i%2 == 1 {
			x = b
		}
		switch s := x.post("/v1/chat/completions", key, `{"model":"fake","messages":[{"role":"user","content":"hi"}]}`).status; s {
		case 200:
			allowed++
		case 429:
		default:
			t.Fatal(s)
		}
	}
	if allowed != 3 {
		t.Fatalf("%d calls passed a limit of 3", allowed)
	}
}

// setTimeouts changes those of the demo's upstream, in milliseconds.
func (x *testApp) setTimeouts(to catalog.Timeouts) {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		u, err := x.Catalog.UpstreamNamedTx(tx, o.ID, "upstream")
		if err != nil {
			return err
		}
		_, err = x.Catalog.UpdateUpstreamTx(tx, demoActor, u.ID, u.Revision, catalog.UpstreamInput{Name: "upstream", URL: u.URL, Timeouts: to})
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

func TestTimeouts(t *testing.T) {
	x := startApp(t, nil)
	x.setTimeouts(catalog.Timeouts{FirstByte: 300, Idle: 300})
	if a := x.chat("fake-slow", ""); a.status != 504 || a.code() != "gateway.upstream_timeout" {
		t.Errorf("first byte: %d %s", a.status, a.body)
	}
	a := x.chat("fake-stall", `"stream":true,`)
	if a.err == nil || !strings.Contains(string(a.body), "gateway.stream_broken") {
		t.Errorf("idle: %v %s", a.err, a.body)
	}
	if e := x.event(a.id()); e.Outcome != "upstream_lost" || e.Charge == 0 {
		t.Errorf("%+v", e)
	}
	x.setTimeouts(catalog.Timeouts{Total: 400})
	if a := x.chat("fake-long", `"stream":true,`); a.err == nil || len(events(a.body)) < 10 {
		t.Errorf("total: %v, %d events", a.err, len(events(a.body)))
	}
}

// selfSigned writes a certificate for 127.0.0.1 and returns its files and the pool that trusts it.
func selfSigned(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if os.WriteFile(cert, certPEM, 0o600) != nil || os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600) != nil {
		t.Fatal("cannot write the certificate")
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, key, pool
}

func TestTLS(t *testing.T) {
	cert, key, pool := selfSigned(t)
	x := startApp(t, func(c *Config) { c.TLS.Cert, c.TLS.Key = cert, key })
	x.url = strings.Replace(x.url, "http://", "https://", 1)
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		client := &http.Client{Transport: tr}
		ctx, cancel := context.WithCancel(t.Context())
		send := func(model string) *http.Response {
			r, _ := http.NewRequestWithContext(ctx, "POST", x.url+"/v1/chat/completions", strings.NewReader(`{"model":"`+model+`","stream":true,"messages":[]}`))
			r.Header.Set("Authorization", "Bearer "+x.key)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if (resp.ProtoMajor == 2) != http2 {
				t.Errorf("protocol %s", resp.Proto)
			}
			return resp
		}
		resp := send("fake")
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), "[DONE]") {
			t.Fatalf("%v %s", err, body)
		}
		// A client that leaves is noticed on both protocols.
		resp = send("fake-long")
		if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		cancel()
		waitFor(t, "the call to close", func() bool { return x.Spool.Inflight() == 0 })
		if e := x.event(resp.Header.Get("X-Request-Id")); e.Outcome != "client_gone" {
			t.Errorf("HTTP/2 %v: %+v", http2, e)
		}
		tr.CloseIdleConnections()
	}
}

// TestBodyThatDoesNotCome sends less than it promised, and then nothing.
func TestBodyThatDoesNotCome(t *testing.T) {
	x := startApp(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+x.key+"\r\nContent-Length: 1000\r\n\r\n{\"model\":")
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "400 Bad Request") || !strings.Contains(string(answer), "gateway.body_truncated") {
		t.Fatalf("%v %s", err, answer)
	}
}
