package engine

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Report is what an evaluation found. It is stored as JSON and shown with the product.
type Report struct {
	Family  string   `json:"family"` // translate, text, speech, vision, assist, recommend
	Engine  string   `json:"engine"`
	Model   string   `json:"model,omitempty"`
	Version string   `json:"version"` // of the engine
	Task    string   `json:"task"`    // "intent classification"
	Data    string   `json:"data"`    // "banking77, 80 % train, 20 % held out"
	Samples int      `json:"samples"`
	Date    string   `json:"date"` // 2006-01-02
	Figures []Figure `json:"figures"`
	Note    string   `json:"note,omitempty"`
}

// Figure is one number of a report; it is for people and never enters a charge.
type Figure struct {
	Name  string  `json:"name"`            // "accuracy"
	Value float64 `json:"value"`           // 0.863
	Floor float64 `json:"floor,omitempty"` // the least that is accepted; 0 for none
	Unit  string  `json:"unit,omitempty"`  // "", "ms", "%"
}

// Below lists the figures that miss their floor.
func (r *Report) Below() (names []string) {
	for _, f := range r.Figures {
		if f.Floor != 0 && f.Value < f.Floor {
			names = append(names, fmt.Sprintf("%s %.4g < %.4g", f.Name, f.Value, f.Floor))
		}
	}
	return names
}

//go:embed reports
var reports embed.FS

// Reports are the evaluations that came with this build, by family, engine and task. Each was written by
// `tollgate evaluate`.
func Reports() ([]Report, error) { return ReadReports(reports, "reports") }

// ReadReports reads the *.json below dir; each file is a list of reports.
func ReadReports(fsys fs.FS, dir string) ([]Report, error) {
	names, err := fs.Glob(fsys, dir+"/*.json")
	if err != nil {
		return nil, err
	}
	var all []Report
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		var list []Report
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, list...)
	}
	slices.SortStableFunc(all, func(a, b Report) int {
		return strings.Compare(a.Family+a.Engine+a.Task, b.Family+b.Engine+b.Task)
	})
	return all, nil
}
