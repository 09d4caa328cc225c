package server

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// evaluation is what an evaluation has to work with.
type evaluation struct {
	data    string // folder with data sets; "": generated data alone
	dir     engine.Dir
	onnx    *onnx.Runtime
	seed    uint64
	scale   int    // events of the space in which the speed of recommendation is measured; 0: it is not
	scratch string // a folder for a database of its own, removed afterwards
}

// Families are the families of engines that can be evaluated, in order.
func Families() []string {
	return []string{"translate", "text", "speech", "vision", "assist", "recommend"}
}

// Evaluate is `tollgate evaluate FAMILY`: it measures the engines of a family and prints the figures.
func Evaluate(family string) func(fs *flag.FlagSet) func(ctx context.Context, stdout, stderr io.Writer) error {
	return func(fs *flag.FlagSet) func(ctx context.Context, stdout, stderr io.Writer) error {
		data := fs.String("data", "", "`folder` with data sets (banking77-train.csv, tatoeba-en-zh-dev.tsv); without it, generated data with known structure")
		dir := fs.String("engines", "", "`folder` of the engines; default TOLLGATE_ENGINES, or ./tollgate-engines")
		seed := fs.Uint64("seed", 1, "of what is drawn at random")
		scale := fs.Int("scale", 0, "recommend: measure speed and memory with so many `events` and a tenth as many items")
		asJSON := fs.Bool("json", false, "print the reports as JSON")
		store := fs.String("store", "", "`data directory` of a server whose catalogue is to show the reports")
		return func(ctx context.Context, stdout, stderr io.Writer) error {
			c := &Config{Engines: *dir}
			if err := c.Complete(); err != nil {
				return err
			}
			scratch, err := os.MkdirTemp("", "tollgate-evaluate-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(scratch)
			e := &evaluation{data: *data, dir: engine.Dir(c.Engines), seed: *seed, scale: *scale, scratch: scratch}
			e.onnx = onnx.New(onnx.Options{Dir: e.dir})
			defer e.onnx.Close()
			reports, err := e.run(ctx, family)
			if err != nil {
				return err
			}
			if err := printReports(stdout, reports, *asJSON); err != nil {
				return err
			}
			if *store != "" {
				if err := storeReports(*store, family, reports); err != nil {
					return err
				}
			}
			return belowFloor(reports)
		}
	}
}

func printReports(w io.Writer, reports []engine.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(reports)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range reports {
		name := r.Engine
		if r.Model != "" {
			name += " " + r.Model
		}
		fmt.Fprintf(tw, "%s\t%s\n\ton %s, %d samples\n", r.Task, name, r.Data, r.Samples)
		for _, f := range r.Figures {
			floor := ""
			if f.Floor != 0 {
				floor = fmt.Sprintf("floor %.4g", f.Floor)
			}
			fmt.Fprintf(tw, "\t%s\t%.4g %s\t%s\n", f.Name, f.Value, f.Unit, floor)
		}
		if r.Note != "" {
			fmt.Fprintf(tw, "\t%s\n", r.Note)
		}
	}
	return tw.Flush()
}

// storeReports puts reports where a server of that data directory finds them.
func storeReports(data, family string, reports []engine.Report) error {
	dir := filepath.Join(data, "reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	body, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, family+".json")
	if err := os.WriteFile(path+".new", append(body, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func belowFloor(reports []engine.Report) error {
	var below []string
	for i := range reports {
		for _, f := range reports[i].Below() {
			below = append(below, reports[i].Task+": "+f)
		}
	}
	if len(below) > 0 {
		return problem.New(problem.Unprocessable, "server.below_floor", "figures are below their floor: %s", strings.Join(below, "; "))
	}
	return nil
}

// reports are the evaluations that the catalogue shows: those of the data directory, and of the families without one those
// that came with the binary.
func (a *App) reports() []engine.Report {
	own, err := engine.ReadReports(os.DirFS(a.Config.Data), "reports")
	if err != nil {
		a.Log.Warn("stored evaluations cannot be read; those of the release are shown", "error", err)
		own = nil
	}
	shipped, err := engine.Reports()
	if err != nil {
		a.Log.Warn("the release's evaluations cannot be read", "error", err)
	}
	has := map[string]bool{}
	for _, r := range own {
		has[r.Family] = true
	}
	for _, r := range shipped {
		if !has[r.Family] {
			own = append(own, r)
		}
	}
	return own
}
