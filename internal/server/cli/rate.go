package cli

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/rating"
)

func rate() Command {
	return Command{Name: "rate", Summary: "work out what usage costs on a rate card, offline",
		About: "Rates a usage file on a rate card as one billing period, with the engine that the platform charges by; it needs\n" +
			"no server. Both files are YAML or JSON; - is standard input. With -json it prints {\"currency\",\"opening\",\"events\",\n" +
			"\"lines\",\"usage\",\"closing\",\"total\"}.",
		Codes:   "0 done, 1 a file is not valid, 2 wrong usage",
		Example: "tollgate rate -card examples/cards/chat.card.yaml -usage examples/cards/chat.usage.yaml",
		Setup: func(fs *flag.FlagSet) Run {
			card := fs.String("card", "", "`file` with the rate card")
			usage := fs.String("usage", "", "`file` with the usage")
			asJSON := jsonFlag(fs)
			return func(_ context.Context, env *Env, _ []string) error {
				if *card == "" || *usage == "" {
					return usageError("-card and -usage are needed")
				}
				if *card == "-" && *usage == "-" {
					return usageError("only one of -card and -usage can be standard input")
				}
				c, err := input(env, *card)
				if err != nil {
					return err
				}
				u, err := input(env, *usage)
				if err != nil {
					return err
				}
				report, err := rating.RunFiles(c, u)
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(env.Stdout, report)
				}
				return printReport(env, &report)
			}
		}}
}

// input reads a file, or standard input for "-".
func input(env *Env, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(env.Stdin, rating.MaxUsageBytes+1))
	}
	return readFile(name, rating.MaxUsageBytes)
}

func printReport(env *Env, r *rating.Report) error {
	g := newGrid("EVENT", "LINE", ">QUANTITY", ">"+r.Currency)
	adjust := func(when string, list []rating.ReportAdjustment) {
		for _, a := range list {
			g.add(when, a.Line+", "+string(a.Kind), "", amount(a.Charge))
		}
	}
	adjust("opening", r.Opening)
	for _, e := range r.Events {
		for _, l := range e.Lines {
			g.add(e.Event, l.Line, l.Quantity, amount(l.Charge))
		}
	}
	adjust("closing", r.Closing)
	if err := g.print(env.Stdout); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout)
	totals := newGrid("LINE", ">QUANTITY", ">"+r.Currency)
	for _, l := range r.Lines {
		totals.add(l.Line, l.Quantity, amount(l.Charge))
	}
	totals.add("usage", "", amount(r.Usage))
	totals.add("total", "", amount(r.Total))
	return totals.print(env.Stdout)
}

func amount(n rating.Nano) string { return money.FormatNano(int64(n)) }
