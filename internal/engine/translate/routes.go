package translate

import (
	_ "embed"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// Sizes of bodies.
const (
	textBody  = 4 << 20
	fileBody  = 16 << 20
	audioBody = 25 << 20
	bulkBody  = 32 << 20
)

type operation = engine.Operation[handler]

// Routes are the contracts of translation.
func Routes() []engine.Route { return engine.RoutesOf(operations()) }

//go:embed openapi.json
var contract []byte

// Contract is the OpenAPI document of Routes.
func Contract() []byte { return contract }

// operations lists every route with its handler.
func operations() []operation {
	metered := func(name, method, pattern string, read func(*engine.Request) (*job, error), size int64, serve handler) operation {
		return operation{Route: engine.Route{Name: "translate." + name, Method: method, Pattern: pattern, Capability: engine.Translate,
			Meter: engine.Characters, Measure: measured(read), MaxBody: size}, Serve: serve}
	}
	free := func(name, method, pattern string, size int64, serve handler) operation {
		return operation{Route: engine.Route{Name: "translate." + name, Method: method, Pattern: pattern, Capability: engine.Translate, MaxBody: size}, Serve: serve}
	}
	styled := func(o operation, s engine.Style) operation { o.Style = s; return o }
	gives := func(o operation, result string, media ...string) operation {
		o.Result, o.Media = result, media
		return o
	}
	anyone := func(o operation) operation { o.Public, o.Anonymous = true, true; return o }

	ops := []operation{
		gives(metered("text", "POST", "/v1/translate", readTranslate, fileBody, (*Engine).serveTranslate), "translations", "text/", "application/"),
		gives(anyone(styled(metered("plain", "POST", "/translate", readPlain, textBody, (*Engine).servePlain), engine.Plain)), "translation"),
		free("languages", "GET", "/v1/translate/languages", 0, (*Engine).serveLanguages),
		{Route: engine.Route{Name: "translate.speech", Method: "POST", Pattern: "/v1/translate/speech", Capability: engine.Translate,
			Meter: engine.AudioSeconds, Measure: measureSpeech, MaxBody: audioBody, Result: "text", Media: []string{"audio/"}}, Serve: (*Engine).serveSpeech},

		free("glossaries.list", "GET", "/v1/translate/glossaries", 0, (*Engine).listGlossaries),
		free("glossaries.create", "POST", "/v1/translate/glossaries", textBody, (*Engine).createGlossary),
		free("glossaries.get", "GET", "/v1/translate/glossaries/{glossary}", 0, (*Engine).getGlossary),
		free("glossaries.update", "PATCH", "/v1/translate/glossaries/{glossary}", textBody, (*Engine).updateGlossary),
		free("glossaries.delete", "DELETE", "/v1/translate/glossaries/{glossary}", 0, (*Engine).deleteGlossary),
		free("memory.list", "GET", "/v1/translate/memory", 0, (*Engine).listMemory),
		free("memory.add", "POST", "/v1/translate/memory", bulkBody, (*Engine).addMemory),
		free("memory.delete", "DELETE", "/v1/translate/memory", 0, (*Engine).deleteMemory),
		gives(free("memory.export", "GET", "/v1/translate/memory/export", 0, (*Engine).exportMemory), "", "text/", "application/x-tmx"),

		gives(metered("libre.translate", "POST", "/libre/translate", readLibre, textBody, (*Engine).serveLibre), "translatedText"),
		free("libre.detect", "POST", "/libre/detect", textBody, (*Engine).serveLibreDetect),
		free("libre.languages", "GET", "/libre/languages", 0, (*Engine).serveLibreLanguages),
	}
	for i := len(ops) - 3; i < len(ops); i++ {
		ops[i].Style, ops[i].Public, ops[i].KeyField = engine.Plain, true, "api_key"
	}
	deep := []operation{
		gives(metered("deepl.translate", "POST", "/v2/translate", readDeepL, textBody, (*Engine).serveDeepL), "translations"),
		free("deepl.languages", "GET", "/v2/languages", 0, (*Engine).serveDeepLLanguages),
		free("deepl.usage", "GET", "/v2/usage", 0, (*Engine).serveDeepLUsage),
		gives(metered("deepl.document", "POST", "/v2/document", readDeepLDocument, fileBody, (*Engine).uploadDocument), "document_id"),
		free("deepl.document.status", "POST", "/v2/document/{document}", 0, (*Engine).documentStatus),
		gives(free("deepl.document.result", "POST", "/v2/document/{document}/result", 0, (*Engine).documentResult), "", "text/", "application/"),
		free("deepl.pairs", "GET", "/v2/glossary-language-pairs", 0, (*Engine).deepLPairs),
		free("deepl.glossaries.list", "GET", "/v2/glossaries", 0, deepLGlossary(glossary2).list),
		free("deepl.glossaries.create", "POST", "/v2/glossaries", textBody, deepLGlossary(glossary2).create),
		free("deepl.glossaries.get", "GET", "/v2/glossaries/{glossary}", 0, deepLGlossary(glossary2).get),
		gives(free("deepl.glossaries.entries", "GET", "/v2/glossaries/{glossary}/entries", 0, (*Engine).entriesDeepL2), "", "text/"),
		free("deepl.glossaries.delete", "DELETE", "/v2/glossaries/{glossary}", 0, (*Engine).deleteDeepL),
		free("deepl.glossaries3.list", "GET", "/v3/glossaries", 0, deepLGlossary(glossary3).list),
		free("deepl.glossaries3.create", "POST", "/v3/glossaries", textBody, deepLGlossary(glossary3).create),
		free("deepl.glossaries3.get", "GET", "/v3/glossaries/{glossary}", 0, deepLGlossary(glossary3).get),
		free("deepl.glossaries3.update", "PATCH", "/v3/glossaries/{glossary}", textBody, deepLGlossary(glossary3).update),
		free("deepl.glossaries3.delete", "DELETE", "/v3/glossaries/{glossary}", 0, (*Engine).deleteDeepL),
		free("deepl.glossaries3.entries", "GET", "/v3/glossaries/{glossary}/entries", 0, (*Engine).entriesDeepL3),
		free("deepl.glossaries3.replace", "PUT", "/v3/glossaries/{glossary}/dictionaries", textBody, (*Engine).replaceDeepL3),
		free("deepl.glossaries3.remove", "DELETE", "/v3/glossaries/{glossary}/dictionaries", 0, (*Engine).removeDeepL3),
	}
	for _, o := range deep {
		ops = append(ops, styled(o, engine.DeepLike))
	}
	return ops
}
