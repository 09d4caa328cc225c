package browser

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tollgate-io/tollgate/e2e/demo"
)

// testSamples runs the code samples of a product's page as they stand, in a folder with the files that they name. Each
// prints what is wanted and what the call cost. set is the prefix of the ids of the samples' fields.
func testSamples(t *testing.T, d *demo.Demo, page, set string, want []string) {
	samples := samplesOf(t, d.URL+"/products/"+page, set)
	t.Run("curl", func(t *testing.T) {
		dir := folder(t)
		// A sample that needs something of its first answer has it as variables that the reader fills in.
		first, then, two := strings.Cut(samples["curl"], "export SESSION=")
		out := run(t, d, dir, samples["curl"], nil, "bash", "-ec", bare(first))
		if two {
			var session struct{ ID, Secret string }
			if err := json.Unmarshal([]byte(out), &session); err != nil || session.ID == "" || session.Secret == "" {
				t.Fatalf("%v\n%s", err, out)
			}
			out = run(t, d, dir, samples["curl"], []string{"SESSION=" + session.ID, "SECRET=" + session.Secret}, "bash", "-ec", bare("export SESSION="+then))
		}
		check(t, out, nil, `(?i)x-tollgate-cost: 0\.|"cost":0\.`)
	})
	t.Run("javascript", func(t *testing.T) {
		dir := folder(t)
		modules, err := filepath.Abs("../sdk/node/node_modules")
		if err == nil {
			err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "sample.mjs"), []byte(samples["javascript"]), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		check(t, run(t, d, dir, samples["javascript"], nil, "node", "sample.mjs"), want, `cost: 0\.`)
	})
	t.Run("go", func(t *testing.T) {
		dir := folder(t)
		source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "sample")
		if err := os.WriteFile(source, []byte(samples["go"]), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, d, ".", samples["go"], nil, "go", "build", "-o", program, source) // here, where its imports are known
		check(t, run(t, d, dir, samples["go"], nil, program), want, `cost: 0\.`)
	})
}

// bare leaves the assignments of variables out, which are given by the environment.
func bare(script string) string {
	return regexp.MustCompile(`(?m)^export \w+=.*$`).ReplaceAllString(script, "")
}

func run(t *testing.T, d *demo.Demo, dir, sample string, env []string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TOLLGATE_KEY="+d.Env["TOLLGATE_KEY"], "BOT="+d.Env["BOT"]), env...)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s%s", err, sample, out, faults.String())
	}
	return string(out)
}

func check(t *testing.T, out string, want []string, cost string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("it does not say %q\n%s", w, out)
		}
	}
	if !regexp.MustCompile(cost).MatchString(out) {
		t.Errorf("it does not say what it cost\n%s", out)
	}
}

// folder has the files that the samples name: a photograph, and a second of sound with a tone in it.
func folder(t *testing.T) string {
	dir := t.TempDir()
	photo := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range 64 * 48 {
		photo.Set(i%64, i/64, color.RGBA{uint8(4 * (i % 64)), uint8(5 * (i / 64)), 90, 255})
	}
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, photo, nil); err != nil {
		t.Fatal(err)
	}
	const rate = 16000
	sound := []byte("RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00")
	for i := range rate {
		v := int16(3000 * math.Sin(2*math.Pi*440*float64(i)/rate))
		sound = append(sound, byte(v), byte(v>>8))
	}
	for name, data := range map[string][]byte{"photo.jpg": picture.Bytes(), "question.wav": sound} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// samplesOf are the samples of a set on a page by language.
func samplesOf(t *testing.T, url, set string) map[string]string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := html.Parse(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	samples, found := map[string]string{}, ""
	for n := range page.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "name" && n.Data == "input" {
				found = a.Val // the fields of a set stand before its samples
			}
			if lang, ok := strings.CutPrefix(a.Val, "pane pane-"); ok && a.Key == "class" && found == set {
				samples[lang] = copyText(n)
			}
		}
	}
	if len(samples) != 4 {
		t.Fatalf("%s has %d samples of %q", url, len(samples), set)
	}
	return samples
}

// copyText is what the copy button below n copies.
func copyText(n *html.Node) string {
	for b := range n.Descendants() {
		for _, a := range b.Attr {
			if a.Key == "data-copy" {
				return a.Val
			}
		}
	}
	return ""
}
