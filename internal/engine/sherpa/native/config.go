//go:build linux || darwin

package native

import (
	"fmt"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

// usual are the sample rate and the dimensions of a frame of models that differ from the rest.
var usual = map[string]featureConfig{"tdnn": {8000, 23}, "t_one_ctc": {8000, 80}, "telespeech_ctc": {16000, 40}}

func features(m *wire.Model) featureConfig {
	f, ok := usual[m.Type]
	if !ok {
		f = featureConfig{wire.Rate, 80}
	}
	if m.Rate > 0 {
		f.sampleRate = int32(m.Rate)
	}
	if m.Features > 0 {
		f.featureDim = int32(m.Features)
	}
	return f
}

// files gives the paths of a model as C strings.
type files map[string]string

func (f files) c(role string) *byte { return cstring(f[role]) }

// online is the configuration of a streaming model.
func online(m *wire.Model, threads int) (*onlineConfig, error) {
	f := files(m.Files)
	c := &onlineConfig{features: features(m), decodingMethod: cstring("greedy_search")}
	o := &c.model
	o.tokens, o.numThreads, o.provider = f.c("tokens"), int32(threads), cstring("cpu")
	switch m.Type {
	case "transducer", "nemo_transducer":
		o.transducer = transducerConfig{f.c("encoder"), f.c("decoder"), f.c("joiner")}
	case "paraformer":
		o.paraformer = encoderDecoder{f.c("encoder"), f.c("decoder")}
	case "zipformer_ctc":
		o.zipformer2CTC.model = f.c("model")
	case "nemo_ctc":
		o.nemoCTC.model = f.c("model")
	case "t_one_ctc":
		o.tOneCTC.model = f.c("model")
	default:
		return nil, fmt.Errorf("there is no streaming model of the type %q", m.Type)
	}
	return c, nil
}

// offline is the configuration of a model that takes whole utterances. set, if not nil, changes the language and the task.
func offline(m *wire.Model, threads int) (c *offlineConfig, set func(c *offlineConfig, language string, translate bool), err error) {
	f := files(m.Files)
	c = &offlineConfig{features: features(m), decodingMethod: cstring("greedy_search")}
	o := &c.model
	o.tokens, o.numThreads, o.provider = f.c("tokens"), int32(threads), cstring("cpu")
	switch m.Type {
	case "transducer", "nemo_transducer":
		o.transducer, o.modelType = transducerConfig{f.c("encoder"), f.c("decoder"), f.c("joiner")}, cstring(m.Type)
	case "whisper":
		o.whisper = whisperConfig{encoder: f.c("encoder"), decoder: f.c("decoder"), task: cstring("transcribe")}
		set = func(c *offlineConfig, language string, translate bool) {
			w := &c.model.whisper
			w.language, w.task = cstring(language), cstring("transcribe")
			if translate {
				w.task = cstring("translate")
			}
		}
	case "canary":
		o.canary = canaryConfig{encoder: f.c("encoder"), decoder: f.c("decoder"), usePNC: 1}
		set = func(c *offlineConfig, language string, translate bool) {
			w := &c.model.canary
			w.srcLang, w.tgtLang = cstring(language), cstring(language)
			if translate {
				w.tgtLang = cstring("en")
			}
		}
	case "fire_red_asr":
		o.fireRedASR = encoderDecoder{f.c("encoder"), f.c("decoder")}
	case "moonshine":
		o.moonshine = moonshineConfig{f.c("preprocessor"), f.c("encoder"), f.c("uncached_decoder"), f.c("cached_decoder"), f.c("merged_decoder")}
	case "sense_voice":
		o.senseVoice = senseVoiceConfig{model: f.c("model"), useITN: 1}
	default:
		one := map[string]*oneModel{"paraformer": &o.paraformer, "nemo_ctc": &o.nemoCTC, "tdnn": &o.tdnn, "dolphin": &o.dolphin, "zipformer_ctc": &o.zipformerCTC,
			"wenet_ctc": &o.wenetCTC, "omnilingual": &o.omnilingual, "medasr": &o.medASR, "fire_red_asr_ctc": &o.fireRedASRCTC, "telespeech_ctc": {}}[m.Type]
		if one == nil {
			return nil, nil, fmt.Errorf("there is no model of the type %q", m.Type)
		}
		one.model = f.c("model")
		if m.Type == "telespeech_ctc" {
			o.telespeechCTC = one.model
		}
	}
	return c, set, nil
}
