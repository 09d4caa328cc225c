// Command tollgate is the whole product: server, demo and command-line client.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/server"
)

func main() {
	ctx := context.Background()
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tollgate demo|serve")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = server.Serve(ctx, os.Args[2:], os.Stdout, os.Stderr)
	case "demo":
		err = server.Demo(ctx, os.Args[2:], os.Stdout, os.Stderr)
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if errors.Is(err, server.ErrUsage) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tollgate:", problem.As(err).Error())
		os.Exit(1)
	}
}
