package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// outcome is what `apply -json` and `diff -json` print.
type outcome struct {
	Applied bool     `json:"applied"`
	Changed int      `json:"changed"`
	Items   []change `json:"items"`
}

// change is what becomes of one object.
type change struct {
	Object  string        `json:"object"`
	Name    string        `json:"name"`
	Action  string        `json:"action"` // created, updated, published, unchanged
	Changes []fieldChange `json:"changes"`
}

type fieldChange struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

const aboutDocuments = "YAML documents hold lists of organisations, upstreams, products, plans and subscriptions; names are identity, and\n" +
	"what is not named stays as it is. Unknown and repeated fields are refused with file and line before anything is\n" +
	"sent. A credential's secret_env or secret_file is read here. -f takes a file, a folder of *.yaml, or - for standard\n" +
	"input, and may be given several times: all documents together are one change."

func apply() Command {
	return Command{Name: "apply", Summary: "make the platform what YAML documents say",
		About: "Makes the platform what documents say, all or nothing; what is so already stays untouched. It prints what was\n" +
			"created (+), changed (~) and left (=).\n\n" + aboutDocuments + "\n\nWith -json it prints {\"applied\",\"changed\",\"items\":[{\"object\",\"name\",\"action\",\"changes\"}]}.",
		Example: "tollgate apply -f catalogue.yaml",
		Setup: func(fs *flag.FlagSet) Run {
			dry := fs.Bool("dry-run", false, "say what would change, and change nothing")
			return applySetup(fs, dry, OK)
		}}
}

func diff() Command {
	return Command{Name: "diff", Summary: "tell how the platform differs from YAML documents",
		About:   "Tells what apply would create (+), change (~) and leave (=), and changes nothing.\n\n" + aboutDocuments,
		Codes:   "0 no difference, 1 there are differences, or it failed, " + clientCodes[len("0 done, 1 failed, "):],
		Example: "tollgate diff -f catalogue.yaml",
		Setup: func(fs *flag.FlagSet) Run {
			always := true
			return applySetup(fs, &always, Failed)
		}}
}

// texts are the values of a flag that may be given several times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, " ") }
func (t *texts) Set(v string) error { *t = append(*t, v); return nil }

func applySetup(fs *flag.FlagSet, dry *bool, codeWhenDifferent int) Run {
	r := serverFlags(fs)
	asJSON := jsonFlag(fs)
	var files texts
	fs.Var(&files, "f", "`file` or folder of documents, or - for standard input; may be repeated")
	return func(ctx context.Context, env *Env, _ []string) error {
		if len(files) == 0 {
			return usageError("-f FILE is needed")
		}
		docs, err := readDocuments(env, files)
		if err != nil {
			return err
		}
		c, err := r.client(env)
		if err != nil {
			return err
		}
		a := ask{method: "POST", path: "/apply", body: docs.lists}
		if *dry {
			a.query = url.Values{"dry_run": {"true"}}
		} else {
			a.once = newKey()
		}
		var out outcome
		if err := c.do(ctx, a, &out); err != nil {
			return docs.place(err)
		}
		if *asJSON {
			err = printJSON(env.Stdout, out)
		} else {
			out.print(env)
		}
		if err == nil && out.Changed > 0 && codeWhenDifferent != OK {
			return exit(codeWhenDifferent)
		}
		return err
	}
}

func (o *outcome) print(env *Env) {
	signs := map[string]string{"created": "+", "unchanged": "="}
	for _, x := range o.Items {
		note := ""
		if x.Action == "published" {
			note = " (published)"
		}
		fmt.Fprintf(env.Stdout, "%s %s %s%s\n", orElse(signs[x.Action], "~"), plain(x.Object), plain(x.Name), note)
		for _, c := range x.Changes {
			if x.Action == "created" {
				continue
			}
			fmt.Fprintf(env.Stdout, "    %s: %s → %s\n", plain(c.Field), value(c.From), value(c.To))
		}
	}
	verb := "changed"
	if !o.Applied {
		verb = "would change"
	}
	fmt.Fprintf(env.Stdout, "%d of %d objects %s\n", o.Changed, len(o.Items), verb)
}

// value shows a JSON value on one line, shortened.
func value(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "?"
	}
	s := plain(b.String())
	if utf8.RuneCountInString(s) > 120 {
		s = string([]rune(s)[:117]) + "…"
	}
	return s
}

func export() Command {
	return Command{Name: "export", Summary: "print the documents that describe the platform",
		About: "Prints, as YAML, the documents that describe what the token may see: apply of them changes nothing. Secrets are\n" +
			"not in them. With -json it prints the same as JSON.",
		Example: "tollgate export -organisation acme > acme.yaml",
		Setup: func(fs *flag.FlagSet) Run {
			r := serverFlags(fs)
			asJSON := jsonFlag(fs)
			org := fs.String("organisation", "", "only what belongs to this `organisation`")
			fs.StringVar(org, "org", "", "the same `organisation`, shorter")
			return func(ctx context.Context, env *Env, _ []string) error {
				c, err := r.client(env)
				if err != nil {
					return err
				}
				q := url.Values{}
				setIf(q, "organisation", *org)
				a := ask{method: "GET", path: "/export", query: q, accept: "application/yaml"}
				if *asJSON {
					a.accept = ""
				}
				var text []byte
				if err := c.do(ctx, a, &text); err != nil {
					return err
				}
				if *asJSON {
					return printJSON(env.Stdout, json.RawMessage(text))
				}
				_, err = env.Stdout.Write(text)
				return err
			}
		}}
}
