//go:build linux || darwin

package native

import (
	"testing"
	"unsafe"
)

// TestLayout holds the structures against what a C compiler makes of c-api.h of version 1.13.8 on 64-bit machines.
func TestLayout(t *testing.T) {
	t.Parallel()
	var (
		om onlineModelConfig
		oc onlineConfig
		or onlineResult
		fm offlineModelConfig
		fc offlineConfig
		fr offlineResult
	)
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"size of the online configuration", unsafe.Sizeof(oc), 272},
		{"size of the online model", unsafe.Sizeof(om), 136},
		{"size of the online result", unsafe.Sizeof(or), 48},
		{"size of the offline configuration", unsafe.Sizeof(fc), 608},
		{"size of the offline model", unsafe.Sizeof(fm), 504},
		{"size of the offline result", unsafe.Sizeof(fr), 128},
		{"size of whisper", unsafe.Sizeof(fm.whisper), 48},
		{"size of canary", unsafe.Sizeof(fm.canary), 40},
		{"size of cohere", unsafe.Sizeof(fm.cohereTranscribe), 32},
		{"size of moonshine", unsafe.Sizeof(fm.moonshine), 40},
		{"size of sense voice", unsafe.Sizeof(fm.senseVoice), 24},
		{"size of FunASR nano", unsafe.Sizeof(fm.funASRNano), 88},
		{"size of Qwen3", unsafe.Sizeof(fm.qwen3), 64},
		{"om.zipformer2CTC", unsafe.Offsetof(om.zipformer2CTC), 40},
		{"om.tokens", unsafe.Offsetof(om.tokens), 48},
		{"om.numThreads", unsafe.Offsetof(om.numThreads), 56},
		{"om.provider", unsafe.Offsetof(om.provider), 64},
		{"om.modelType", unsafe.Offsetof(om.modelType), 80},
		{"om.tokensBufSize", unsafe.Offsetof(om.tokensBufSize), 112},
		{"om.nemoCTC", unsafe.Offsetof(om.nemoCTC), 120},
		{"om.tOneCTC", unsafe.Offsetof(om.tOneCTC), 128},
		{"oc.model", unsafe.Offsetof(oc.model), 8},
		{"oc.decodingMethod", unsafe.Offsetof(oc.decodingMethod), 144},
		{"oc.enableEndpoint", unsafe.Offsetof(oc.enableEndpoint), 156},
		{"oc.hotwordsFile", unsafe.Offsetof(oc.hotwordsFile), 176},
		{"oc.ctcFSTGraph", unsafe.Offsetof(oc.ctcFSTGraph), 192},
		{"oc.ctcFSTMaxActive", unsafe.Offsetof(oc.ctcFSTMaxActive), 200},
		{"oc.blankPenalty", unsafe.Offsetof(oc.blankPenalty), 224},
		{"oc.hotwordsBufSize", unsafe.Offsetof(oc.hotwordsBufSize), 240},
		{"oc.homophoneReplacements", unsafe.Offsetof(oc.homophoneReplacements), 248},
		{"or.tokensArr", unsafe.Offsetof(or.tokensArr), 16},
		{"or.timestamps", unsafe.Offsetof(or.timestamps), 24},
		{"or.count", unsafe.Offsetof(or.count), 32},
		{"or.json", unsafe.Offsetof(or.json), 40},
		{"fm.whisper", unsafe.Offsetof(fm.whisper), 40},
		{"fm.tdnn", unsafe.Offsetof(fm.tdnn), 88},
		{"fm.tokens", unsafe.Offsetof(fm.tokens), 96},
		{"fm.numThreads", unsafe.Offsetof(fm.numThreads), 104},
		{"fm.debug", unsafe.Offsetof(fm.debug), 108},
		{"fm.provider", unsafe.Offsetof(fm.provider), 112},
		{"fm.modelType", unsafe.Offsetof(fm.modelType), 120},
		{"fm.telespeechCTC", unsafe.Offsetof(fm.telespeechCTC), 144},
		{"fm.senseVoice", unsafe.Offsetof(fm.senseVoice), 152},
		{"fm.moonshine", unsafe.Offsetof(fm.moonshine), 176},
		{"fm.fireRedASR", unsafe.Offsetof(fm.fireRedASR), 216},
		{"fm.dolphin", unsafe.Offsetof(fm.dolphin), 232},
		{"fm.zipformerCTC", unsafe.Offsetof(fm.zipformerCTC), 240},
		{"fm.canary", unsafe.Offsetof(fm.canary), 248},
		{"fm.wenetCTC", unsafe.Offsetof(fm.wenetCTC), 288},
		{"fm.omnilingual", unsafe.Offsetof(fm.omnilingual), 296},
		{"fm.medASR", unsafe.Offsetof(fm.medASR), 304},
		{"fm.funASRNano", unsafe.Offsetof(fm.funASRNano), 312},
		{"fm.fireRedASRCTC", unsafe.Offsetof(fm.fireRedASRCTC), 400},
		{"fm.qwen3", unsafe.Offsetof(fm.qwen3), 408},
		{"fm.cohereTranscribe", unsafe.Offsetof(fm.cohereTranscribe), 472},
		{"fc.model", unsafe.Offsetof(fc.model), 8},
		{"fc.languageModel", unsafe.Offsetof(fc.languageModel), 512},
		{"fc.decodingMethod", unsafe.Offsetof(fc.decodingMethod), 528},
		{"fc.maxActivePaths", unsafe.Offsetof(fc.maxActivePaths), 536},
		{"fc.hotwordsFile", unsafe.Offsetof(fc.hotwordsFile), 544},
		{"fc.blankPenalty", unsafe.Offsetof(fc.blankPenalty), 576},
		{"fc.homophoneReplacements", unsafe.Offsetof(fc.homophoneReplacements), 584},
		{"fr.timestamps", unsafe.Offsetof(fr.timestamps), 8},
		{"fr.count", unsafe.Offsetof(fr.count), 16},
		{"fr.tokensArr", unsafe.Offsetof(fr.tokensArr), 32},
		{"fr.json", unsafe.Offsetof(fr.json), 40},
		{"fr.lang", unsafe.Offsetof(fr.lang), 48},
		{"fr.durations", unsafe.Offsetof(fr.durations), 72},
		{"fr.ysLogProbs", unsafe.Offsetof(fr.ysLogProbs), 80},
		{"fr.segmentCount", unsafe.Offsetof(fr.segmentCount), 120},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, in C %d", c.what, c.got, c.want)
		}
	}
}
