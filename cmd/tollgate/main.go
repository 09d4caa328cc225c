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
		evaluate(),
	}, cli.Commands()...)
	os.Exit(cli.Main(context.Background(), env, commands, os.Args[1:]))
}

// evaluate is a subcommand for each family of engines.
func evaluate() cli.Command {
	c := cli.Command{Name: "evaluate", Summary: "measure the capability engines on data, and print the figures"}
	for _, family := range server.Families() {
		c.Sub = append(c.Sub, cli.Command{Name: family, Summary: "measure the engines of " + family, Setup: run(server.Evaluate(family)),
			About: "Measures the engines on data sets in the folder of -data, and on generated data whose structure is known. Needs no\n" +
				"server. -store keeps the figures where a server of that data directory shows them in its catalogue.",
			Codes:   "0 every figure reached its floor, 1 one did not or the evaluation failed, 2 wrong usage",
			Example: "tollgate evaluate " + family + " -data DIR"})
	}
	return c
}

// run makes a command of one of the server's.
func run(setup func(*flag.FlagSet) func(context.Context, io.Writer, io.Writer) error) func(*flag.FlagSet) cli.Run {
	return func(fs *flag.FlagSet) cli.Run {
		serve := setup(fs)
		return func(ctx context.Context, env *cli.Env, _ []string) error { return serve(ctx, env.Stdout, env.Stderr) }
	}
}
