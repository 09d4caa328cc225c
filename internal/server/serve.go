package server

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Serve is `tollgate serve`: it adds the command's flags and returns what runs it when they are parsed.
func Serve(fs *flag.FlagSet) func(ctx context.Context, stdout, stderr io.Writer) error {
	config := fs.String("config", "", "configuration `file` (YAML); without it every setting has its default")
	listen := fs.String("listen", "", "`address` to listen on; overrides the file")
	data := fs.String("data", "", "data `directory`; overrides the file")
	database := fs.String("database", "", "`address` of the database, sqlite:PATH or postgres://…; overrides the file")
	roleList := fs.String("roles", "", "comma-separated `roles`: gateway, api, worker; overrides the file")
	return func(ctx context.Context, stdout, stderr io.Writer) error {
		c, err := loadWith(*config, *listen, *data, *database, *roleList)
		if err != nil {
			return err
		}
		a, err := New(ctx, c, stdout, stderr)
		if err != nil {
			return err
		}
		return a.Run(ctx, func() error { return a.announce(stderr) })
	}
}

// loadWith reads the file and lets flags override it.
func loadWith(path, listen, data, database, roleList string) (*Config, error) {
	raw, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	set := func(p *string, v string) {
		if v != "" {
			*p = v
		}
	}
	set(&raw.Listen, listen)
	set(&raw.Data, data)
	set(&raw.Database, database)
	if roleList != "" {
		raw.Roles = strings.Split(roleList, ",")
	}
	return raw, raw.Complete()
}

// announce prints, for an installation that nobody has set up, the link with which to do it.
func (a *App) announce(w io.Writer) error {
	token, err := a.Keys.NewBootstrap(context.Background(), 24*time.Hour)
	if problem.Is(err, problem.Conflict) {
		return nil // it is set up
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nThis installation has no operator yet. Open this link once, within 24 hours, to set it up:\n\n  %s/bootstrap#%s\n\n", a.Config.PublicURL, token.Reveal())
	return nil
}

// Run listens and serves until ctx ends or the process is told to stop, then stops gracefully. ready runs
// once the port is open.
func (a *App) Run(ctx context.Context, ready func() error) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" { // calls allocate little: a smaller heap costs one or two percent of CPU
		debug.SetGCPercent(60)
	}
	debug.FreeOSMemory() // what building the product took is not needed again
	ln, err := net.Listen("tcp", a.Config.Listen)
	if err != nil {
		err = problem.New(problem.Conflict, "server.listen", "cannot listen on %s: %s; choose another address with -listen", a.Config.Listen, err.Error())
		return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}
	srv, ln, err := a.httpServer(ln)
	if err != nil {
		ln.Close()
		return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}
	failed := make(chan error, 2)
	err = ready() // the port is open, and answers once what is to be read has been printed
	go func() { failed <- srv.Serve(ln) }()
	var profile *http.Server
	if a.Config.Pprof != "" {
		profile = &http.Server{Addr: a.Config.Pprof, Handler: profiles(), ReadHeaderTimeout: 5 * time.Second}
		go func() { failed <- profile.ListenAndServe() }()
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		case err = <-a.failed:
		}
	}
	a.Gateway.Drain()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Config.Drain)
	defer cancel()
	if e := srv.Shutdown(stopCtx); e != nil || a.Front.Idle(stopCtx) != nil { // the server does not wait for live sessions
		err = errors.Join(err, a.breakOff(srv))
	}
	if profile != nil {
		profile.Close()
	}
	last, cancel2 := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel2()
	return errors.Join(err, a.Stop(last))
}

// breakOff ends the calls that did not end within the drain time: their clients are told, and what they were given is
// charged. A client that does not even take that loses its connection.
func (a *App) breakOff(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	told := a.Front.Break(ctx)
	srv.Close()
	if told == nil {
		return nil
	}
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.Front.Break(ctx); err != nil {
		return fmt.Errorf("calls did not end: %w", err)
	}
	return nil
}

// httpServer builds the server and wraps the listener: watched below, TLS above.
func (a *App) httpServer(ln net.Listener) (*http.Server, net.Listener, error) {
	ln = a.Front.Listen(ln)
	srv := &http.Server{Handler: a.Handler(), ConnContext: a.Front.ConnContext,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: nil}
	t := a.Config.TLS
	switch {
	case t.Cert != "":
		cert, err := newReloader(t.Cert, t.Key)
		if err != nil {
			return nil, ln, invalid("tls: %v", err)
		}
		a.cert.Store(cert)
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"}}
	case len(t.Domains) > 0:
		m := &autocert.Manager{Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(t.Domains...), Email: t.Email,
			Cache: autocert.DirCache(filepath.Join(a.Config.Data, "acme"))}
		if t.Directory != "" {
			m.Client = &acme.Client{DirectoryURL: t.Directory}
		}
		srv.TLSConfig = m.TLSConfig()
		srv.TLSConfig.MinVersion = tls.VersionTLS12
	}
	if srv.TLSConfig != nil {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	return srv, ln, nil
}

// profiles serves pprof; its port is loopback only.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
