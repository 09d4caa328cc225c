package cli

import (
	"context"
	"flag"
	"fmt"
	"strconv"

	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/server"
)

func sealer() Command {
	return Command{Name: "sealer", Summary: "look after the key that seals stored secrets", Sub: []Command{
		{Name: "status", Summary: "tell what is sealed with which key",
			About: "Tells which keys the key file has and how much each has sealed: upstreams' credentials, recorded content, and\n" +
				"answers kept for a day. A key is sealing (the first), opening (an older one), or lost: not in the file, so\n" +
				"that what it sealed cannot be opened. Asks the platform, or with -config or -data looks itself. With -json it\n" +
				`prints {"file","keys":[…],"old","lost"}.`,
			Codes:   "0 every value can be opened, 1 some cannot, or it failed, " + clientCodes[len("0 done, 1 failed, "):],
			Example: "tollgate sealer status -data /var/lib/tollgate",
			Setup:   sealerStatus},
		{Name: "rotate", Summary: "put a new key first in the key file",
			About: "Puts a new key first in the key file; the others stay, to open what they sealed. A running server takes the\n" +
				"file up within two seconds. On several nodes, bring the file to all of them, then run sealer reseal, and at\n" +
				"last sealer drop. Copy the new file to where its backup is kept before you drop the old keys.",
			Codes:   "0 done, 1 failed, 2 wrong usage, 4 there is no key file",
			Example: "tollgate sealer rotate -data /var/lib/tollgate",
			Setup: offline(func(ctx context.Context, env *Env, v *server.Vault) error {
				if err := v.Rotate(); err != nil {
					return err
				}
				_, err := fmt.Fprintf(env.Stdout, "%s has a new first key; next: tollgate sealer reseal\n", v.File)
				return err
			})},
		{Name: "reseal", Summary: "seal everything with the first key",
			About: "Seals with the first key of the file what an older one has sealed. Asks the platform, or with -config or -data\n" +
				"does it itself; a server may run beside it. An upstream's credential that cannot be opened stops it: enter it\n" +
				"again, or remove it. With -json it prints {\"resealed\"}.",
			Codes:   "0 done, 1 failed, 2 wrong usage, 3 refused, 5 a credential cannot be opened, 6 the platform cannot be reached",
			Example: "tollgate sealer reseal",
			Setup:   sealerReseal},
		{Name: "drop", Summary: "remove the old keys from the key file",
			About: "Removes every key but the first from the key file. Refused while something is still sealed with them. On\n" +
				"several nodes, first make sure that all have the new file.",
			Codes:   "0 done, 1 failed, 2 wrong usage, 4 there is no key file, 5 an old key is still needed",
			Example: "tollgate sealer drop -data /var/lib/tollgate",
			Setup: offline(func(ctx context.Context, env *Env, v *server.Vault) error {
				if err := v.Drop(ctx); err != nil {
					return err
				}
				_, err := fmt.Fprintf(env.Stdout, "%s has one key\n", v.File)
				return err
			})},
	}}
}

// vaultFlags adds the flags that name a server's configuration.
func vaultFlags(fs *flag.FlagSet) (config, data *string) {
	return fs.String("config", "", "the server's configuration `file`"), fs.String("data", "", "its data `directory`; overrides the file")
}

// vault runs fn on what the configuration names.
func vault(ctx context.Context, config, data string, fn func(*server.Vault) error) error {
	c, err := server.LoadConfig(config, data)
	if err != nil {
		return err
	}
	v, done, err := server.OpenVault(ctx, c)
	if err != nil {
		return err
	}
	err = fn(v)
	if e := done(); err == nil {
		err = e
	}
	return err
}

// offline is the Setup of a command that works on the files of a server, which it must name.
func offline(fn func(context.Context, *Env, *server.Vault) error) func(*flag.FlagSet) Run {
	return func(fs *flag.FlagSet) Run {
		config, data := vaultFlags(fs)
		return func(ctx context.Context, env *Env, _ []string) error {
			if *config == "" && *data == "" {
				return usageError("it needs -config or -data: the key file lies with the server")
			}
			return vault(ctx, *config, *data, func(v *server.Vault) error { return fn(ctx, env, v) })
		}
	}
}

func sealerStatus(fs *flag.FlagSet) Run {
	r, asJSON := serverFlags(fs), jsonFlag(fs)
	config, data := vaultFlags(fs)
	return func(ctx context.Context, env *Env, _ []string) error {
		var st api.Sealing
		err := error(nil)
		if *config != "" || *data != "" {
			err = vault(ctx, *config, *data, func(v *server.Vault) (err error) { st, err = v.Status(ctx); return err })
		} else {
			err = askOnce(ctx, env, r, ask{method: "GET", path: "/sealer"}, &st)
		}
		if err != nil {
			return err
		}
		if err := printSealing(env, *asJSON, st); err != nil {
			return err
		}
		if st.Lost > 0 {
			return exit(Failed)
		}
		return nil
	}
}

// askOnce sends one request to the platform.
func askOnce(ctx context.Context, env *Env, r *remote, a ask, out any) error {
	c, err := r.client(env)
	if err != nil {
		return err
	}
	return c.do(ctx, a, out)
}

func printSealing(env *Env, asJSON bool, st api.Sealing) error {
	if asJSON {
		return printJSON(env.Stdout, st)
	}
	g := newGrid("KEY", "STATE", ">CREDENTIALS", ">RECORDED", ">ANSWERS", ">ENGINES")
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	for _, k := range st.Keys {
		g.add(k.ID, k.State, n(k.Credentials), n(k.Recorded), n(k.Answers), n(k.Engines))
	}
	fmt.Fprintf(env.Stdout, "key file: %s\n\n", plain(st.File))
	return g.print(env.Stdout)
}

func sealerReseal(fs *flag.FlagSet) Run {
	r, asJSON := serverFlags(fs), jsonFlag(fs)
	config, data := vaultFlags(fs)
	return func(ctx context.Context, env *Env, _ []string) error {
		var out struct {
			Resealed int `json:"resealed"`
		}
		var err error
		if *config != "" || *data != "" {
			err = vault(ctx, *config, *data, func(v *server.Vault) (err error) { out.Resealed, err = v.Reseal(ctx); return err })
		} else {
			err = askOnce(ctx, env, r, ask{method: "POST", path: "/sealer/reseal", slow: true}, &out)
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.Stdout, out)
		}
		_, err = fmt.Fprintf(env.Stdout, "sealed anew: %d\n", out.Resealed)
		return err
	}
}
