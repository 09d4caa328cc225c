// Command tollgate is the whole product: server, demo and command-line client.
package main

import (
	"context"
	"flag"
	"io"
	"os"

	"github.com/tollgate-io/tollgate/internal/server"
	"github.com/tollgate-io/tollgate/internal/server/cli"
)

func main() {
	env := &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Version: server.Version}
	commands := append([]cli.Command{
		{Name: "demo", Summary: "start everything with data to try", Setup: run(server.Demo),
			About: "Starts the whole product with an operator, a provider, a consumer with credit, and a model on sale, and writes\n" +
				"their credentials to demo.env in the data directory. Without -upstream a built-in sandbox model answers from the\n" +
				"manual; it is no language model, and says so.",
			Codes:   "0 stopped by a signal, 1 failed, 2 wrong usage, 5 the address or the data directory is in use, 6 the database cannot be reached or the disk is full",
			Example: "tollgate demo -upstream http://127.0.0.1:11434/v1"},
		{Name: "serve", Summary: "run the platform", Setup: run(server.Serve),
			About: "Runs the platform. The first start of a new installation prints a one-time link with which its operator is set\n" +
				"up; there is no default password.",
			Codes:   "0 stopped by a signal, 1 failed, 2 wrong usage, 5 the address or the data directory is in use, 6 the database cannot be reached or the disk is full",
			Example: "tollgate serve -config /etc/tollgate.yaml"},
	}, cli.Commands()...)
	os.Exit(cli.Main(context.Background(), env, commands, os.Args[1:]))
}

// run makes a command of one of the server's.
func run(setup func(*flag.FlagSet) func(context.Context, io.Writer, io.Writer) error) func(*flag.FlagSet) cli.Run {
	return func(fs *flag.FlagSet) cli.Run {
		serve := setup(fs)
		return func(ctx context.Context, env *cli.Env, _ []string) error { return serve(ctx, env.Stdout, env.Stderr) }
	}
}
