//go:build linux || darwin

package native

// The structures of sherpa-onnx 1.13.8, sherpa-onnx/c-api/c-api.h, field by field. Go lays them out as C does on 64-bit machines;
// the test compares sizes and offsets. The C API tells that a field may be added at the end of a structure
// with a new version, so this must be compared anew when the library's version changes.

type featureConfig struct {
	sampleRate int32
	featureDim int32
}

type transducerConfig struct{ encoder, decoder, joiner *byte }

type encoderDecoder struct{ encoder, decoder *byte }

type oneModel struct{ model *byte }

type homophoneConfig struct{ dictDir, lexicon, ruleFSTs *byte }

type onlineModelConfig struct {
	transducer    transducerConfig
	paraformer    encoderDecoder
	zipformer2CTC oneModel
	tokens        *byte
	numThreads    int32
	provider      *byte
	debug         int32
	modelType     *byte
	modelingUnit  *byte
	bpeVocab      *byte
	tokensBuf     *byte
	tokensBufSize int32
	nemoCTC       oneModel
	tOneCTC       oneModel
}

type onlineConfig struct {
	features              featureConfig
	model                 onlineModelConfig
	decodingMethod        *byte
	maxActivePaths        int32
	enableEndpoint        int32
	rule1TrailingSilence  float32
	rule2TrailingSilence  float32
	rule3UtteranceLength  float32
	hotwordsFile          *byte
	hotwordsScore         float32
	ctcFSTGraph           *byte
	ctcFSTMaxActive       int32
	ruleFSTs              *byte
	ruleFARs              *byte
	blankPenalty          float32
	hotwordsBuf           *byte
	hotwordsBufSize       int32
	homophoneReplacements homophoneConfig
}

type onlineResult struct {
	text       *byte
	tokens     *byte
	tokensArr  **byte
	timestamps *float32
	count      int32
	json       *byte
}

type whisperConfig struct {
	encoder, decoder        *byte
	language, task          *byte
	tailPaddings            int32
	enableTokenTimestamps   int32
	enableSegmentTimestamps int32
}

type canaryConfig struct {
	encoder, decoder *byte
	srcLang, tgtLang *byte
	usePNC           int32
}

type cohereConfig struct {
	encoder, decoder *byte
	language         *byte
	usePunct, useITN int32
}

type moonshineConfig struct {
	preprocessor, encoder, uncachedDecoder, cachedDecoder, mergedDecoder *byte
}

type senseVoiceConfig struct {
	model    *byte
	language *byte
	useITN   int32
}

type funASRNanoConfig struct {
	encoderAdaptor, llm, embedding, tokenizer, systemPrompt, userPrompt *byte
	maxNewTokens                                                        int32
	temperature, topP                                                   float32
	seed                                                                int32
	language                                                            *byte
	itn                                                                 int32
	hotwords                                                            *byte
}

type qwen3Config struct {
	convFrontend, encoder, decoder, tokenizer *byte
	maxTotalLen, maxNewTokens                 int32
	temperature, topP                         float32
	seed                                      int32
	hotwords                                  *byte
}

type offlineModelConfig struct {
	transducer       transducerConfig
	paraformer       oneModel
	nemoCTC          oneModel
	whisper          whisperConfig
	tdnn             oneModel
	tokens           *byte
	numThreads       int32
	debug            int32
	provider         *byte
	modelType        *byte
	modelingUnit     *byte
	bpeVocab         *byte
	telespeechCTC    *byte
	senseVoice       senseVoiceConfig
	moonshine        moonshineConfig
	fireRedASR       encoderDecoder
	dolphin          oneModel
	zipformerCTC     oneModel
	canary           canaryConfig
	wenetCTC         oneModel
	omnilingual      oneModel
	medASR           oneModel
	funASRNano       funASRNanoConfig
	fireRedASRCTC    oneModel
	qwen3            qwen3Config
	cohereTranscribe cohereConfig
}

type languageModelConfig struct {
	model *byte
	scale float32
}

type offlineConfig struct {
	features              featureConfig
	model                 offlineModelConfig
	languageModel         languageModelConfig
	decodingMethod        *byte
	maxActivePaths        int32
	hotwordsFile          *byte
	hotwordsScore         float32
	ruleFSTs              *byte
	ruleFARs              *byte
	blankPenalty          float32
	homophoneReplacements homophoneConfig
}

type offlineResult struct {
	text              *byte
	timestamps        *float32
	count             int32
	tokens            *byte
	tokensArr         **byte
	json              *byte
	lang              *byte
	emotion           *byte
	event             *byte
	durations         *float32
	ysLogProbs        *float32
	segmentTimestamps *float32
	segmentDurations  *float32
	segmentTexts      *byte
	segmentTextsArr   **byte
	segmentCount      int32
}
