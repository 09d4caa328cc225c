// Package cli is the command line: the table of commands, their arguments, help and completion, and the
// commands that talk to a running platform through its management API.
//
// A [Command] says what it is called, what it does and which flags it has; help, completion and the
// parsing of arguments are the same for all. What a command prints goes to standard output, what went
// wrong to standard error, and the exit code tells which kind of failure it was ([OK] and the others). A
// token is never printed.
//
// The commands hold no rules of the platform: what is valid, and who may do what, the server decides.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// The exit codes.
const (
	OK          = 0
	Failed      = 1 // it failed, or the answer is a negative one
	Usage       = 2 // the command line cannot be understood
	Refused     = 3 // 401 or 403: no valid token, or not permitted
	Missing     = 4 // 404 or 410: there is no such thing
	Conflicting = 5 // 409, 412 or 428: it exists already, or was changed meanwhile
	Unreachable = 6 // no connection, or 502, 503 or 504
)

// Env is what a command sees of the world.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Version        string // of the binary
}

// chinese tells whether the user reads Chinese, by the locale.
func (e *Env) chinese() bool {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := e.Getenv(name); v != "" {
			return strings.HasPrefix(v, "zh")
		}
	}
	return false
}

// Run runs a command whose flags have been parsed; args are what is left.
type Run func(ctx context.Context, env *Env, args []string) error

// Command is a row of the table: a command, or a family of them.
type Command struct {
	Name    string
	Summary string // one line for the list of commands
	About   string // what it does, for its help
	Args    string // the arguments beside flags, as in the usage line: "KEY"; none but these are accepted
	Codes   string // its exit codes, where they are not those of every client
	Example string
	Words   []string // what the argument may be, for completion

	Setup func(*flag.FlagSet) Run // adds the flags and returns what runs it
	Sub   []Command               // of a family, which has no Setup
}

// family is commands under a common name: "tollgate", or "tollgate key".
type family struct {
	path     string
	commands []Command
}

// Main runs the command that args name and returns the exit code. What failed is reported on env.Stderr.
func Main(ctx context.Context, env *Env, commands []Command, args []string) int {
	all := append(commands[:len(commands):len(commands)], completion(commands))
	return report(env, family{"tollgate", all}.dispatch(ctx, env, args))
}

func (f family) dispatch(ctx context.Context, env *Env, args []string) error {
	if len(args) == 0 {
		f.help(env.Stderr)
		return exit(Usage)
	}
	switch args[0] {
	case "help":
		if len(args) > 1 {
			return f.dispatch(ctx, env, append(args[1:len(args):len(args)], "-h"))
		}
		fallthrough
	case "-h", "-help", "--help":
		f.help(env.Stdout)
		return nil
	}
	for i := range f.commands {
		c := &f.commands[i]
		switch {
		case c.Name != args[0]:
		case c.Sub != nil:
			return family{f.path + " " + c.Name, c.Sub}.dispatch(ctx, env, args[1:])
		default:
			return c.run(ctx, env, f.path+" "+c.Name, args[1:])
		}
	}
	fmt.Fprintf(env.Stderr, "%s: there is no command %q\n\n", f.path, args[0])
	f.help(env.Stderr)
	return exit(Usage)
}

// flags returns the command's flags, and what runs it when they are parsed.
func (c *Command) flags() (*flag.FlagSet, Run) {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // faults are printed by run, once
	return fs, c.Setup(fs)
}

// run parses a command's arguments and runs it. Flags may stand before and after other arguments; after -- there are no flags.
func (c *Command) run(ctx context.Context, env *Env, path string, args []string) error {
	fs, run := c.flags()
	misused := func(text string) error {
		fmt.Fprintf(env.Stderr, "%s: %s\n\n", path, text)
		c.help(env.Stderr, path, fs)
		return exit(Usage)
	}
	var rest []string
	for len(args) > 0 {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			c.help(env.Stdout, path, fs)
			return nil
		}
		if err != nil {
			return misused(err.Error())
		}
		flags := args[:len(args)-fs.NArg()]
		if args = fs.Args(); len(flags) > 0 && flags[len(flags)-1] == "--" {
			rest, args = append(rest, args...), nil
		}
		if len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	switch n := len(strings.Fields(c.Args)); {
	case len(rest) > n:
		return misused(fmt.Sprintf("there is an argument too many: %q", rest[n]))
	case len(rest) < n:
		return misused("it needs " + c.Args)
	}
	err := run(ctx, env, rest)
	var u usageError
	if errors.As(err, &u) {
		return misused(string(u))
	}
	return err
}

// usageError is a command line that parses and makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// exit is an error about which everything has been printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// report prints err and returns the exit code.
func report(env *Env, err error) int {
	var code exit
	var answer *apiError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &answer):
		answer.print(env)
		return answer.code()
	}
	e := problem.As(err)
	if e.Kind == problem.Internal { // of this process: its operator is who reads it
		fmt.Fprintf(env.Stderr, "tollgate: %s\n", plain(err.Error()))
		return Failed
	}
	lang := "en"
	if env.chinese() {
		lang = "zh"
	}
	fmt.Fprintf(env.Stderr, "tollgate: %s\n", plain(e.Text(lang)))
	for _, f := range e.FieldsIn(lang) {
		fmt.Fprintf(env.Stderr, "  %s: %s\n", plain(f.Path), plain(f.Detail))
	}
	if cause := errors.Unwrap(e); cause != nil {
		fmt.Fprintf(env.Stderr, "  %s\n", plain(cause.Error()))
	}
	return codeOf(e.Kind.Status())
}

// codeOf is the exit code for an HTTP status.
func codeOf(status int) int {
	switch status {
	case 401, 403:
		return Refused
	case 404, 410:
		return Missing
	case 409, 412, 428:
		return Conflicting
	case 502, 503, 504:
		return Unreachable
	}
	return Failed
}

// clientCodes are the exit codes of a command that asks a server.
const clientCodes = "0 done, 1 failed, 2 wrong usage, 3 refused (no valid token, or not permitted), 4 not found, 5 conflict, 6 the server cannot be reached"

func (f family) help(w io.Writer) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags]\n\n", f.path)
	if f.path == "tollgate" {
		fmt.Fprint(w, "Tollgate is a marketplace and gateway for AI and other APIs. The commands are:\n\n")
	}
	width := 0
	for _, c := range f.commands {
		width = max(width, len(c.Name))
	}
	for _, c := range f.commands {
		fmt.Fprintf(w, "  %-*s  %s\n", width, c.Name, c.Summary)
	}
	fmt.Fprintf(w, "\n%s COMMAND -h explains a command.\n", f.path)
	if f.path == "tollgate" {
		fmt.Fprint(w, "\nCommands that ask a running platform take its address from TOLLGATE_URL or -url, and the credential from\nTOLLGATE_TOKEN or -token.\n\nExit codes: "+clientCodes+".\n")
	}
}

func (c *Command) help(w io.Writer, path string, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: %s%s", path, synopsis(fs))
	if c.Args != "" {
		fmt.Fprintf(w, " %s", c.Args)
	}
	fmt.Fprintf(w, "\n\n%s\n\n", c.About)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fs.SetOutput(io.Discard)
	codes := c.Codes
	if codes == "" {
		codes = clientCodes
	}
	fmt.Fprintf(w, "\nExit codes: %s.\nExample: %s\n", codes, c.Example)
}

// synopsis lists the flags for the usage line, without those that every client has.
func synopsis(fs *flag.FlagSet) string {
	var b strings.Builder
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == "url" || f.Name == "token" {
			return
		}
		name, _ := flag.UnquoteUsage(f)
		if name != "" {
			name = " " + strings.ToUpper(name)
		}
		fmt.Fprintf(&b, " [-%s%s]", f.Name, name)
	})
	return b.String()
}
