package sherpa

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

// Model is a model of the operator's: a folder as sherpa-onnx's archives unpack.
type Model struct {
	Name      string   // of the folder
	Type      string   // as sherpa-onnx's configuration calls it
	Streaming bool     // made for live sound; here it gets whole utterances all the same
	Languages []string // ISO 639-1, [Any] for a model of all; none where they are not known
	Licence   string   // as the operator has stated it
	Need      string   // what it needs before it can be used; "" for nothing

	wire wire.Model
}

// Any among a model's languages says that it takes every one.
const Any = "*"

// Understands reports whether the model may know a language, named by its ISO 639-1 code. "" is one that it finds out. One whose
// languages are not known may know any: it is for who names the model to say.
func (m *Model) Understands(language string) bool {
	return language == "" || len(m.Languages) == 0 || slices.Contains(m.Languages, language) || slices.Contains(m.Languages, Any)
}

// Only is the one language of a model that has a single one, or else "".
func (m *Model) Only() string {
	if len(m.Languages) == 1 && m.Languages[0] != Any {
		return m.Languages[0]
	}
	return ""
}

// Identifies reports whether the model finds out by itself which of several languages is spoken.
func (m *Model) Identifies() bool {
	return (m.Type == "whisper" || m.Type == "sense_voice") && m.Only() == ""
}

// TranslatesFrom reports whether the model gives English for what is said in a language, "" for one that it finds out.
func (m *Model) TranslatesFrom(language string) bool {
	switch m.Type {
	case "whisper":
		return m.Only() == "" && m.Understands(language)
	case "canary":
		return language != "" && m.Understands(language)
	}
	return false
}

// form is the files that a type of model needs.
type form struct{ offline, streaming []string }

var (
	three   = []string{"encoder", "decoder", "joiner", "tokens"}
	two     = []string{"encoder", "decoder", "tokens"}
	one     = []string{"model", "tokens"}
	moon    = []string{"preprocessor", "encoder", "uncached_decoder", "cached_decoder", "tokens"}
	moonTwo = []string{"encoder", "merged_decoder", "tokens"}
)

// forms are the types that are supported.
var forms = map[string]form{
	"transducer": {three, three}, "nemo_transducer": {three, three}, "paraformer": {one, two}, "whisper": {two, nil}, "moonshine": {moon, nil},
	"fire_red_asr": {two, nil}, "canary": {two, nil}, "sense_voice": {one, nil}, "telespeech_ctc": {one, nil}, "dolphin": {one, nil},
	"omnilingual": {one, nil}, "medasr": {one, nil}, "fire_red_asr_ctc": {one, nil}, "wenet_ctc": {one, nil}, "tdnn": {one, nil},
	"nemo_ctc": {one, one}, "zipformer_ctc": {one, one}, "t_one_ctc": {nil, one},
}

// byName are the types of models of one file, and of an encoder and a decoder, by parts of folders' names; the first counts.
var (
	byName = [][2]string{{"sense-voice", "sense_voice"}, {"sensevoice", "sense_voice"}, {"paraformer", "paraformer"}, {"telespeech", "telespeech_ctc"}, {"dolphin", "dolphin"},
		{"omnilingual", "omnilingual"}, {"medasr", "medasr"}, {"fire-red-asr", "fire_red_asr_ctc"}, {"wenet", "wenet_ctc"}, {"tdnn", "tdnn"}, {"t-one", "t_one_ctc"},
		{"nemo", "nemo_ctc"}, {"parakeet", "nemo_ctc"}, {"giga-am", "nemo_ctc"}, {"zipformer", "zipformer_ctc"}}
	twoByName = [][2]string{{"whisper", "whisper"}, {"paraformer", "paraformer"}, {"fire-red-asr", "fire_red_asr"}, {"canary", "canary"}, {"moonshine", "moonshine"}}
)

// streamingNames are parts of the names of folders with streaming models.
var streamingNames = []string{"streaming", "conv-emformer", "-lstm-", "t-one"}

// card is model.json, by which an operator may say what a folder is.
type card struct {
	Type      string            `json:"type"`
	Streaming *bool             `json:"streaming"`
	Languages []string          `json:"languages"`
	Licence   string            `json:"licence"`
	Files     map[string]string `json:"files"` // by what they are, names within the folder
	Rate      int               `json:"sample_rate"`
	Features  int               `json:"feature_dim"`
}

const maxCard = 64 << 10

// folders is where the models are, below the engines directory.
var folders = []string{"speech", "models"}

// Models are the operator's models by name, also those that are not understood. It reads names of files and
// model.json alone, and may be called often.
func Models(dir engine.Dir) []Model {
	root := dir.Path(folders...)
	if root == "" {
		return nil
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var all []Model
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(root, e.Name()))
		if err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		all = append(all, read(root, e.Name()))
	}
	return all
}

// read finds out what a folder is.
func read(root, name string) Model {
	m := Model{Name: name}
	dir := filepath.Join(root, name)
	c, err := readCard(dir)
	if err == nil {
		err = m.understand(dir, c)
	}
	if err != nil {
		m.Need = err.Error()
	}
	return m
}

func readCard(dir string) (*card, error) {
	c := &card{}
	f, err := os.Open(filepath.Join(dir, "model.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, errors.New("a model.json that can be read")
	}
	defer f.Close()
	data := make([]byte, maxCard+1)
	n, err := f.Read(data)
	if err != nil || n > maxCard {
		return nil, errors.New("a model.json that can be read")
	}
	d := json.NewDecoder(bytes.NewReader(data[:n]))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("a model.json as docs/engines.md says: %w", err)
	}
	for role, file := range c.Files {
		if !filepath.IsLocal(file) {
			return nil, fmt.Errorf("a model.json without a file outside of the folder, as it has for %s", role)
		}
	}
	return c, nil
}

func (m *Model) understand(dir string, c *card) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.New("to be readable")
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	plain := "-" + strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(m.Name)) + "-"
	m.Licence, m.Languages = c.Licence, c.Languages
	if m.Languages == nil {
		m.Languages = languagesOf(plain)
	}
	for _, l := range c.Languages {
		if l != Any && (len(l) < 2 || len(l) > 3 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz") != "") { // it would never be chosen
			return fmt.Errorf("languages by ISO 639-1 codes such as en in its model.json, not %q", l)
		}
	}
	m.Streaming = slices.ContainsFunc(streamingNames, func(s string) bool { return strings.Contains(plain, s) })
	if c.Streaming != nil {
		m.Streaming = *c.Streaming
	}
	found := roles(names)
	maps.Copy(found, c.Files)
	if m.Type = c.Type; m.Type == "" {
		m.Type = guess(plain, found)
	}
	if m.Languages == nil {
		m.Languages = languagesOfType(m.Type, plain, found["encoder"])
	}
	f, known := forms[m.Type]
	switch {
	case m.Type == "":
		return errors.New("its type stated in a model.json, as the names of its files do not tell it (docs/engines.md)")
	case !known:
		return fmt.Errorf("another type than %q, which is not supported; the types are %s", m.Type, strings.Join(slices.Sorted(maps.Keys(forms)), ", "))
	}
	need := f.offline
	if m.Streaming {
		need = f.streaming
	}
	if m.Type == "moonshine" && found["merged_decoder"] != "" {
		need = moonTwo
	}
	if need == nil {
		return fmt.Errorf("streaming to be %v in its model.json, as a model of the type %q", !m.Streaming, m.Type)
	}
	m.wire = wire.Model{Type: m.Type, Streaming: m.Streaming, Rate: c.Rate, Features: c.Features, Files: map[string]string{}}
	for _, role := range need {
		if found[role] == "" {
			return fmt.Errorf("a file for %s, as a model of the type %q", role, m.Type)
		}
		path := filepath.Join(dir, found[role])
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			return fmt.Errorf("its file %s, which is missing or empty", found[role])
		}
		m.wire.Files[role] = path
	}
	if _, err := (&wire.Request{Model: m.wire}).Frame(); err != nil {
		return errors.New("names of files in UTF-8, and a sample_rate and a feature_dim that are possible in its model.json")
	}
	return nil
}

// roles finds what the files of a folder are by their names, of two for the same the one with weights of 8 bits.
func roles(names []string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		role := roleOf(strings.ToLower(name))
		if role == "" {
			continue
		}
		if before, ok := found[role]; !ok || !small(before) && small(name) {
			found[role] = name
		}
	}
	return found
}

func small(name string) bool { return strings.Contains(name, "int8") }

func roleOf(name string) string {
	if name == "tokens.txt" || strings.HasSuffix(name, "-tokens.txt") {
		return "tokens"
	}
	stem, ok := strings.CutSuffix(name, ".onnx")
	if !ok {
		if stem, ok = strings.CutSuffix(name, ".ort"); !ok {
			return ""
		}
	}
	has := func(s string) bool { return strings.Contains(stem, s) }
	switch {
	case has("merged"):
		return "merged_decoder"
	case strings.HasPrefix(stem, "uncached"):
		return "uncached_decoder"
	case strings.HasPrefix(stem, "cached"):
		return "cached_decoder"
	case strings.HasPrefix(stem, "preprocess"):
		return "preprocessor"
	case has("encode"):
		return "encoder"
	case has("decode"):
		return "decoder"
	case has("joiner"):
		return "joiner"
	case strings.HasPrefix(stem, "model-streaming"): // WeNet's, beside the one for whole utterances
		return ""
	case strings.HasPrefix(stem, "model") || strings.HasPrefix(stem, "ctc"):
		return "model"
	}
	return ""
}

// guess finds the type by what files there are and by parts of the folder's name; "" where it is not clear.
func guess(plain string, found map[string]string) string {
	first := func(table [][2]string) string {
		for _, e := range table {
			if strings.Contains(plain, e[0]) {
				return e[1]
			}
		}
		return ""
	}
	has := func(role string) bool { return found[role] != "" }
	switch {
	case has("joiner") && strings.Contains(plain, "nemo"):
		return "nemo_transducer"
	case has("joiner"):
		return "transducer"
	case has("preprocessor") || has("merged_decoder"):
		return "moonshine"
	case has("encoder") && has("decoder") && strings.HasSuffix(found["tokens"], "-tokens.txt"):
		return "whisper"
	case has("encoder") && has("decoder"):
		return first(twoByName)
	case has("model"):
		return first(byName)
	}
	return ""
}

// languageNames are the languages by how folders' names tell them.
var languageNames = func() map[string]string {
	m := map[string]string{"english": "en", "chinese": "zh", "mandarin": "zh", "cantonese": "yue", "russian": "ru", "german": "de", "french": "fr", "spanish": "es",
		"japanese": "ja", "korean": "ko", "thai": "th", "vietnamese": "vi", "arabic": "ar", "portuguese": "pt", "italian": "it", "yue": "yue"}
	for _, code := range strings.Fields("ar be bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja kk ko lt lv ms nl pl pt ro ru sk sl sr sv sw ta th tr uk ur uz vi zh") {
		m[code] = code
	}
	return m
}()

// languagesOf are the languages that a folder's name tells, in its order.
func languagesOf(plain string) (all []string) {
	for _, part := range strings.FieldsFunc(plain, func(r rune) bool { return r == '-' || r == '.' }) {
		if l := languageNames[part]; l != "" && !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	return all
}

// languagesOfType are the languages of models that are known by their type: Whisper's are of English alone (".en" in the names
// of files, and the distilled ones) or of any language, SenseVoice's of five.
func languagesOfType(kind, plain, encoder string) []string {
	switch {
	case kind == "whisper" && (strings.Contains(plain, "distil") || strings.Contains(encoder, ".en-")):
		return []string{"en"}
	case kind == "whisper":
		return []string{Any}
	case kind == "sense_voice":
		return []string{"zh", "en", "ja", "ko", "yue"}
	}
	return nil
}
