package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/server"
)

// checkup is what `doctor -json` prints.
type checkup struct {
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

// finding is what was found out about one part.
type finding struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, warning or failed
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do
}

const (
	good = "ok"
	warn = "warning"
	bad  = "failed"
)

func (c *checkup) add(name, state, format string, args ...any) {
	c.Findings = append(c.Findings, finding{name, state, fmt.Sprintf(format, args...), ""})
	c.OK = c.OK && state != bad
}

func doctor() Command {
	return Command{Name: "doctor", Summary: "look for what is wrong",
		About: "Looks for what is wrong. On the machine of a server: its configuration, data directory, disk, database, sealer key,\n" +
			"port and clock. Of a running platform, where TOLLGATE_URL or -url says where it is and the token is an operator's:\n" +
			"what it finds out about itself. Nothing is changed. With -json it prints {\"ok\",\"findings\":[{\"name\",\"state\",\n" +
			"\"detail\",\"advice\"}]}; a state is ok, warning or failed.",
		Codes:   "0 nothing has failed, 1 something has, 2 wrong usage, 3 refused, 6 the platform cannot be reached",
		Example: "tollgate doctor -config /etc/tollgate.yaml",
		Setup: func(fs *flag.FlagSet) Run {
			r := serverFlags(fs)
			asJSON := jsonFlag(fs)
			config := fs.String("config", "", "the server's configuration `file`")
			data := fs.String("data", "", "its data `directory`; overrides the file")
			return func(ctx context.Context, env *Env, _ []string) error {
				c := &checkup{OK: true}
				online := r.url != "" || env.Getenv("TOLLGATE_URL") != ""
				if *config != "" || *data != "" || !online {
					c.local(ctx, *config, *data)
				}
				var err error
				if online {
					err = c.remote(ctx, env, r)
				}
				if len(c.Findings) > 0 || err == nil {
					if e := c.print(env, *asJSON); err == nil {
						err = e
					}
				}
				if err == nil && !c.OK {
					return exit(Failed)
				}
				return err
			}
		}}
}

func (c *checkup) print(env *Env, asJSON bool) error {
	if asJSON {
		return printJSON(env.Stdout, c)
	}
	g := newGrid("", "PART", "")
	for _, f := range c.Findings {
		g.add(f.State, f.Name, f.Detail)
		if f.Advice != "" {
			g.add("", "", "→ "+f.Advice)
		}
	}
	return g.print(env.Stdout)
}

// remote asks a running platform.
func (c *checkup) remote(ctx context.Context, env *Env, r *remote) error {
	cl, err := r.client(env)
	if err != nil {
		return err
	}
	var out struct {
		Version  string    `json:"version"`
		Time     time.Time `json:"time"`
		Findings []finding `json:"findings"`
	}
	asked := time.Now()
	if err := cl.do(ctx, ask{method: "GET", path: "/doctor"}, &out); err != nil {
		return err
	}
	for _, f := range out.Findings {
		c.Findings = append(c.Findings, f)
		c.OK = c.OK && f.State != bad
	}
	// The answer was made somewhere between asking and now.
	away := max(time.Until(out.Time), asked.Sub(out.Time), 0)
	state := good
	if away > 2*time.Second {
		state = warn
	}
	c.add("clock of the server", state, "at most %s from this machine's", (away + time.Since(asked)).Round(time.Millisecond))
	if out.Version != env.Version {
		c.add("version", warn, "the server is %s, this program is %s", out.Version, env.Version)
	} else {
		c.add("version", good, "%s", out.Version)
	}
	return nil
}

// local looks at what a server on this machine would use.
func (c *checkup) local(ctx context.Context, config, data string) {
	cfg, err := server.LoadConfig(config, data)
	if err != nil {
		c.add("configuration", bad, "%s", plain(cause(err)))
		return
	}
	from := config
	if from == "" {
		from = "defaults"
	}
	c.add("configuration", good, "%s", from)
	c.folder(cfg.Data)
	c.database(ctx, cfg)
	c.sealer(cfg)
	c.port(ctx, cfg)
	c.clock(cfg.Data)
}

// folder looks whether the data directory can be written to, and for space.
func (c *checkup) folder(dir string) {
	f, err := os.CreateTemp(dir, "doctor-*")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add("data directory", warn, "%s does not exist; the first start makes it", dir)
		return
	case err != nil:
		c.add("data directory", bad, "cannot be written to: %v", err)
		return
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		c.add("data directory", bad, "%v", err)
		return
	}
	state, note := good, ""
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		state, note = warn, fmt.Sprintf("; its mode is %#o: others may look into it, chmod 700 it", info.Mode().Perm())
	}
	c.add("data directory", state, "%s can be written to%s", dir, note)
	free, ok := server.FreeSpace(dir)
	switch {
	case !ok:
	case free < 64<<20:
		c.add("disk", bad, "%d MiB are free: calls are refused when none is left", free>>20)
	case free < 1<<30:
		c.add("disk", warn, "only %d MiB are free", free>>20)
	default:
		c.add("disk", good, "%d GiB are free", free>>30)
	}
}

func (c *checkup) database(ctx context.Context, cfg *server.Config) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if path, ok := strings.CutPrefix(cfg.Database, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			c.add("database", warn, "%s does not exist; the first start makes it", path)
			return
		}
	}
	start := time.Now()
	d, err := db.Open(ctx, cfg.Database, db.Options{ReadOnly: true, MaxConns: 1})
	if err == nil {
		defer d.Close()
		err = d.View(ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT 1`).Scan(new(int64)) })
	}
	if err != nil {
		c.add("database", bad, "%s", plain(cause(err)))
		return
	}
	c.add("database", good, "%s answered in %s", d.Engine(), time.Since(start).Round(time.Millisecond))
}

func (c *checkup) sealer(cfg *server.Config) {
	_, err := secret.Load(cfg.SealerKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add("sealer key", warn, "%s does not exist; the first start makes it. If there was one, stored credentials cannot be opened without it", cfg.SealerKey)
	case err != nil:
		c.add("sealer key", bad, "%v", err)
	default:
		c.add("sealer key", good, "%s; keep a copy apart from the database's", cfg.SealerKey)
	}
}

// port looks whether the address is free, or who has it.
func (c *checkup) port(ctx context.Context, cfg *server.Config) {
	ln, err := net.Listen("tcp", cfg.Listen)
	if err == nil {
		ln.Close()
		c.add("port", good, "%s is free", cfg.Listen)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, rerr := http.NewRequestWithContext(ctx, http.MethodGet, cfg.PublicURL+"/healthz", nil)
	if rerr == nil {
		if resp, gerr := http.DefaultClient.Do(req); gerr == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				c.add("port", good, "a server answers at %s", cfg.PublicURL)
				return
			}
		}
	}
	c.add("port", bad, "%v", err)
}

// clock looks whether the clock went back: no file can be from the future.
func (c *checkup) clock(dir string) {
	now, newest := time.Now(), time.Time{}
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil { // what cannot be read is the data directory's finding
			if info, err := e.Info(); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		return nil
	})
	if ahead := newest.Sub(now); ahead > time.Minute {
		c.add("clock", bad, "it is %s; files in the data directory are from %s later: the clock went back", moment(now), ahead.Round(time.Second))
		return
	}
	c.add("clock", good, "%s", moment(now))
}

// cause is an error without its id, with what lies below it: for an operator.
func cause(err error) string {
	text := err.Error()
	if id, rest, ok := strings.Cut(text, ": "); ok && !strings.Contains(id, " ") && strings.Contains(id, ".") {
		return rest
	}
	return text
}
