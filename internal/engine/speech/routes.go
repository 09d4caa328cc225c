package speech

import (
	"context"
	_ "embed"
	"net/http"

	"github.com/tollgate-io/tollgate/internal/engine"
)

type handler func(*Engine, context.Context, *engine.Request, engine.Writer) error

type operation = engine.Operation[handler] // Serve is nil for a socket

// operations are the routes with what serves them.
func operations() []operation {
	gives := func(o operation, result string, media ...string) operation {
		o.Result, o.Media = result, media
		return o
	}
	op := func(name, method, path, capability, meter string, measure func(*engine.Request) (engine.Quantity, error), max int64,
		serve handler) operation {
		return operation{Route: engine.Route{Name: "audio." + name, Method: method, Pattern: "/v1/audio/" + path, Capability: capability,
			Meter: meter, Measure: measure, MaxBody: max, Style: engine.OpenAI, Public: true}, Serve: serve}
	}
	const post, get = http.MethodPost, http.MethodGet
	subtitles := []string{"text/plain", "text/vtt", "text/srt", "application/x-subrip"}
	ops := []operation{
		gives(op("transcriptions", post, "transcriptions", engine.Transcribe, engine.AudioSeconds, measureForm, maxUpload, (*Engine).serveTranscription), "text", subtitles...),
		gives(op("translations", post, "translations", engine.Transcribe, engine.AudioSeconds, measureForm, maxUpload, (*Engine).serveTranslation), "text", subtitles...),
		gives(op("activity", post, "activity", engine.Transcribe, engine.AudioSeconds, measureSound, maxUpload, (*Engine).serveActivity), "segments"),
		op("stream", get, "stream", engine.Transcribe, engine.AudioSeconds, measureStream, 0, nil),
		gives(op("speech", post, "speech", engine.Speak, engine.Characters, measureSpeech, 64<<10, (*Engine).serveSpeech), "audio", "audio/"),
		gives(op("voices", get, "voices", engine.Speak, "", nil, 0, (*Engine).serveVoices), "data"),
	}
	for i := range ops {
		ops[i].Socket = ops[i].Serve == nil
	}
	return ops
}

// Routes are the operations of this engine.
func Routes() []engine.Route { return engine.RoutesOf(operations()) }

var handlers = engine.Handlers(operations())

//go:embed contract.json
var contract []byte

// Contract is the OpenAPI 3.1 document of [Routes].
func Contract() []byte { return contract }
