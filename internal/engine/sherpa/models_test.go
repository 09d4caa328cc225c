package sherpa

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// TestFolders: what sherpa-onnx's archives unpack is understood by its names.
func TestFolders(t *testing.T) {
	t.Parallel()
	const transducer = "encoder-epoch-99-avg-1.onnx encoder-epoch-99-avg-1.int8.onnx decoder-epoch-99-avg-1.onnx joiner-epoch-99-avg-1.onnx joiner-epoch-99-avg-1.int8.onnx tokens.txt README.md bpe.model"
	tests := []struct {
		name, files string
		kind        string
		streaming   bool
		languages   string
		used        string // base names by what they are
		need        string
	}{
		{name: "sherpa-onnx-zipformer-en-2023-06-26", files: transducer, kind: "transducer", languages: "en",
			used: "decoder-epoch-99-avg-1.onnx encoder-epoch-99-avg-1.int8.onnx joiner-epoch-99-avg-1.int8.onnx tokens.txt"},
		{name: "sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20", files: transducer, kind: "transducer", streaming: true, languages: "zh en"},
		{name: "sherpa-onnx-conv-emformer-transducer-2022-06-06", files: transducer, kind: "transducer", streaming: true},
		{name: "sherpa-onnx-zipformer-ar_en_id_ja_ru_th_vi_zh-2025-02-10", files: transducer, kind: "transducer", languages: "ar en id ja ru th vi zh"},
		{name: "sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8", files: "encoder.int8.onnx decoder.int8.onnx joiner.int8.onnx tokens.txt test_wavs", kind: "nemo_transducer"},
		{name: "sherpa-onnx-whisper-tiny.en", files: "tiny.en-encoder.onnx tiny.en-encoder.int8.onnx tiny.en-decoder.onnx tiny.en-decoder.int8.onnx tiny.en-tokens.txt", kind: "whisper", languages: "en",
			used: "tiny.en-decoder.int8.onnx tiny.en-encoder.int8.onnx tiny.en-tokens.txt"},
		{name: "sherpa-onnx-whisper-small", files: "small-encoder.onnx small-decoder.onnx small-tokens.txt", kind: "whisper", languages: "*"},
		{name: "my-own", files: "base-encoder.onnx base-decoder.onnx base-tokens.txt", kind: "whisper", languages: "*"},
		{name: "my-other", files: "base.en-encoder.onnx base.en-decoder.onnx base.en-tokens.txt", kind: "whisper", languages: "en"},
		{name: "sherpa-onnx-whisper-distil-large-v3", files: "distil-large-v3-encoder.onnx distil-large-v3-decoder.onnx distil-large-v3-tokens.txt", kind: "whisper", languages: "en"},
		{name: "my-sense-voice", files: "model.onnx tokens.txt", kind: "sense_voice", languages: "zh en ja ko yue"},
		{name: "sherpa-onnx-moonshine-tiny-en-int8", files: "preprocess.onnx encode.int8.onnx uncached_decode.int8.onnx cached_decode.int8.onnx tokens.txt", kind: "moonshine", languages: "en"},
		{name: "sherpa-onnx-moonshine-base-ko-quantized", files: "encoder_model.ort decoder_model_merged.ort tokens.txt", kind: "moonshine", languages: "ko", used: "encoder_model.ort decoder_model_merged.ort tokens.txt"},
		{name: "sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17", files: "model.onnx model.int8.onnx tokens.txt", kind: "sense_voice", languages: "zh en ja ko yue", used: "model.int8.onnx tokens.txt"},
		{name: "sherpa-onnx-paraformer-zh-2023-09-14", files: "model.int8.onnx tokens.txt am.mvn config.yaml", kind: "paraformer", languages: "zh"},
		{name: "sherpa-onnx-streaming-paraformer-bilingual-zh-en", files: "encoder.onnx encoder.int8.onnx decoder.onnx decoder.int8.onnx tokens.txt", kind: "paraformer", streaming: true, languages: "zh en"},
		{name: "sherpa-onnx-nemo-ctc-en-citrinet-512", files: "model.onnx model.int8.onnx tokens.txt", kind: "nemo_ctc", languages: "en"},
		{name: "sherpa-onnx-nemo-streaming-fast-conformer-ctc-en-80ms", files: "model.onnx tokens.txt", kind: "nemo_ctc", streaming: true, languages: "en"},
		{name: "sherpa-onnx-nemo-canary-180m-flash-en-es-de-fr-int8", files: "encoder.int8.onnx decoder.int8.onnx tokens.txt", kind: "canary", languages: "en es de fr"},
		{name: "sherpa-onnx-fire-red-asr-large-zh_en-2025-02-16", files: "encoder.int8.onnx decoder.int8.onnx tokens.txt", kind: "fire_red_asr", languages: "zh en"},
		{name: "sherpa-onnx-streaming-zipformer-ctc-multi-zh-hans-2023-12-13", files: "ctc-epoch-20-avg-1-chunk-16-left-128.int8.onnx tokens.txt", kind: "zipformer_ctc", streaming: true, languages: "zh"},
		{name: "sherpa-onnx-zipformer-ctc-zh-int8-2025-07-03", files: "model.int8.onnx tokens.txt", kind: "zipformer_ctc", languages: "zh"},
		{name: "sherpa-onnx-zh-wenet-aishell", files: "model.onnx model-streaming.onnx tokens.txt", kind: "wenet_ctc", languages: "zh", used: "model.onnx tokens.txt"},
		{name: "sherpa-onnx-telespeech-ctc-int8-zh-2024-06-04", files: "model.int8.onnx tokens.txt", kind: "telespeech_ctc", languages: "zh"},
		{name: "sherpa-onnx-dolphin-base-ctc-multi-lang-int8-2025-04-02", files: "model.int8.onnx tokens.txt", kind: "dolphin"},
		{name: "sherpa-onnx-streaming-t-one-russian-2025-09-08", files: "model.onnx tokens.txt", kind: "t_one_ctc", streaming: true, languages: "ru"},
		{name: "sherpa-onnx-tdnn-yesno", files: "model-epoch-14-avg-2.onnx tokens.txt", kind: "tdnn"},
		{name: "no-tokens-zipformer", files: "model.onnx", kind: "zipformer_ctc", need: "a file for tokens"},
		{name: "half-zipformer", files: "encoder.onnx joiner.onnx tokens.txt", kind: "transducer", need: "a file for decoder"},
		{name: "something", files: "model.onnx tokens.txt", need: "its type stated"},
		{name: "empty", need: "its type stated"},
		{name: "vits-voice-en", files: "en.onnx tokens.txt", languages: "en", need: "its type stated"},
		{name: "streaming-paraformer", files: "model.onnx tokens.txt", kind: "paraformer", streaming: true, need: "a file for encoder"},
		{name: "streaming-whisper", files: "a-encoder.onnx a-decoder.onnx a-tokens.txt", kind: "whisper", streaming: true, languages: "*", need: "streaming to be false"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := planted(t, c.name, c.files, "")
			if m.Type != c.kind || m.Streaming != c.streaming || strings.Join(m.Languages, " ") != c.languages || m.Need == "" != (c.need == "") || !strings.Contains(m.Need, c.need) {
				t.Errorf("%+v", m)
			}
			if c.used != "" {
				got := map[string]bool{}
				for _, path := range m.wire.Files {
					got[filepath.Base(path)] = true
				}
				want := map[string]bool{}
				for _, name := range strings.Fields(c.used) {
					want[name] = true
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// planted is the one model of an engines directory with a folder of files, which have something in them.
func planted(t *testing.T, name, files, card string) Model {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "speech", "models", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(files) {
		if err := os.WriteFile(filepath.Join(folder, f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if card != "" {
		if err := os.WriteFile(filepath.Join(folder, "model.json"), []byte(card), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := Models(engine.Dir(dir))
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	return all[0]
}

// TestCards: model.json says what names do not, and its faults are told.
func TestCards(t *testing.T) {
	t.Parallel()
	m := planted(t, "mine", "a.onnx b.txt", `{"type":"nemo_ctc","streaming":true,"languages":["de","en"],"licence":"CC-BY-4.0","files":{"model":"a.onnx","tokens":"b.txt"},"sample_rate":8000,"feature_dim":64}`)
	if m.Need != "" || m.Type != "nemo_ctc" || !m.Streaming || m.Licence != "CC-BY-4.0" || !m.Understands("de") || m.Understands("fr") || !m.Understands("") ||
		filepath.Base(m.wire.Files["model"]) != "a.onnx" || m.wire.Rate != 8000 || m.wire.Features != 64 {
		t.Errorf("%+v", m)
	}
	if m := planted(t, "mine", "model.onnx tokens.txt", `{"type":"dolphin","languages":["*"]}`); m.Need != "" || !m.Understands("ja") || m.Only() != "" || m.Identifies() {
		t.Errorf("%+v", m)
	}
	for card, want := range map[string]string{
		`{"type":"gpt"}`:    "not supported",
		`{"typ":"whisper"}`: "unknown field",
		`{`:                 "model.json",
		`[]`:                "model.json",
		`{"files":{"model":"../../../etc/passwd"}}`:  "outside",
		`{"type":"tdnn","files":{"model":"c.onnx"}}`: "c.onnx, which is missing",
		`{"type":"tdnn","languages":[""]}`:           "language",
		`{"type":"tdnn","languages":["EN"]}`:         "language",
		`{"type":"tdnn","languages":["en-US"]}`:      "language",
		`{"type":"tdnn","sample_rate":-1}`:           "sample_rate",
		`{"type":"tdnn","feature_dim":1000000}`:      "feature_dim",
		`{"type":"t_one_ctc"}`:                       "streaming to be true",
		strings.Repeat(" ", maxCard+2):               "model.json",
	} {
		if m := planted(t, "mine", "model.onnx tokens.txt", card); !strings.Contains(m.Need, want) {
			t.Errorf("%.60s: %q", card, m.Need)
		}
	}
}

// TestAbilities: what a model can do with languages.
func TestAbilities(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m          Model
		identifies bool
		from       string
		translates bool
	}{
		{Model{Type: "whisper"}, true, "", true},
		{Model{Type: "whisper"}, true, "zh", true},
		{Model{Type: "whisper", Languages: []string{"en"}}, false, "", false},
		{Model{Type: "whisper", Languages: []string{"*"}}, true, "zh", true},
		{Model{Type: "sense_voice", Languages: []string{"zh", "en"}}, true, "zh", false},
		{Model{Type: "canary", Languages: []string{"en", "de"}}, false, "de", true},
		{Model{Type: "canary", Languages: []string{"en", "de"}}, false, "", false},
		{Model{Type: "transducer"}, false, "en", false},
	} {
		if c.m.Identifies() != c.identifies || c.m.TranslatesFrom(c.from) != c.translates {
			t.Errorf("%+v from %q", c.m, c.from)
		}
	}
}
