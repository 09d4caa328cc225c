package catalog

import (
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkDefinition says what is wrong with a product's definition: it must be an OpenAPI 3 document
// in JSON or YAML with a title and paths. It is not checked further: linting is advice, not a gate.
// Only the tree is parsed: decoding into maps compares every key with every other, which a hostile
// document makes take minutes.
func checkDefinition(text string) string {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 {
		return "must be an OpenAPI document in JSON or YAML"
	}
	root := doc.Content[0]
	version, title := member(root, "openapi"), member(member(root, "info"), "title")
	paths := member(root, "paths")
	switch {
	case root.Kind != yaml.MappingNode:
		return "must be an OpenAPI document in JSON or YAML"
	case version == nil || version.Kind != yaml.ScalarNode || !strings.HasPrefix(version.Value, "3."):
		return "must be OpenAPI 3: openapi: 3.x.y"
	case title == nil || title.Kind != yaml.ScalarNode || title.Value == "":
		return "must have info.title"
	case paths == nil || paths.Kind != yaml.MappingNode || len(paths.Content) == 0:
		return "must have paths"
	}
	return ""
}

// member is the value of a key of a mapping, or nil.
func member(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// obj is a JSON object; its keys are encoded in alphabetical order.
type obj = map[string]any

// contractPaths are the first path of each capability contract.
var contractPaths = map[Capability]string{Translate: "/translate", TextCapability: "/text/classify", Transcribe: "/audio/transcriptions", Speak: "/audio/speech",
	Vision: "/vision/classify", Image: "/images/generations", Assist: "/assist/bots", Recommend: "/recommend/spaces"}

// DefaultDefinition makes an OpenAPI 3.1 document (JSON) of what the product states: the operations
// of its capabilities under the data plane's /v1, with its model id and limits.
func (p *Product) DefaultDefinition() string {
	paths, schemas := obj{}, obj{"Error": errorSchema}
	if p.Can(Chat) {
		paths["/chat/completions"] = obj{"post": p.operation("createChatCompletion", "Create a chat completion", "ChatRequest", "ChatCompletion", true)}
		schemas["ChatRequest"] = p.chatRequest()
		schemas["ChatCompletion"] = chatCompletion
		schemas["Usage"] = usageSchema
	}
	if p.Can(Embeddings) {
		paths["/embeddings"] = obj{"post": p.operation("createEmbedding", "Create embeddings", "EmbeddingsRequest", "Embeddings", false)}
		schemas["EmbeddingsRequest"] = p.embeddingsRequest()
		schemas["Embeddings"] = embeddingsSchema
		schemas["Usage"] = usageSchema
	}
	for _, c := range p.Capabilities {
		if at := contractPaths[c]; at != "" && len(paths) == 0 {
			// The contract's own document says the rest; see its product's definition.
			paths[at] = obj{"post": obj{"operationId": string(c), "summary": "The platform's contract of this capability: " + string(c),
				"responses": obj{"200": obj{"description": "The answer"}}}}
		}
	}
	title := p.Title.In("en")
	if title == "" {
		title = p.Model
	}
	doc := obj{
		"openapi":  "3.1.0",
		"info":     obj{"title": title, "description": p.Description.In("en"), "version": "1"},
		"servers":  []any{obj{"url": "/v1"}},
		"security": []any{obj{"key": []any{}}},
		"paths":    paths,
		"components": obj{
			"schemas":         schemas,
			"securitySchemes": obj{"key": obj{"type": "http", "scheme": "bearer", "description": "An inference key: sk-tg-inf-…"}},
		},
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // strings and numbers encode
	}
	return string(b)
}

func (p *Product) operation(id, summary, request, answer string, streams bool) obj {
	content := obj{"application/json": obj{"schema": ref(answer)}}
	if streams {
		content["text/event-stream"] = obj{"schema": obj{"type": "string", "description": "With stream: true, chunks as server-sent events, ended by [DONE]."}}
	}
	responses := obj{"200": obj{"description": "The answer", "content": content}}
	for status, why := range map[string]string{
		"400": "Malformed request", "401": "No key, or a bad one", "402": "Funds or budget exhausted", "403": "Not subscribed, or blocked",
		"404": "Unknown model", "429": "Rate limit; see Retry-After", "502": "Upstream failed", "503": "Not available now", "504": "Upstream timed out",
	} {
		responses[status] = obj{"description": why, "content": obj{"application/json": obj{"schema": ref("Error")}}}
	}
	return obj{
		"operationId": id, "summary": summary,
		"requestBody": obj{"required": true, "content": obj{"application/json": obj{"schema": ref(request)}}},
		"responses":   responses,
	}
}

func ref(name string) obj { return obj{"$ref": "#/components/schemas/" + name} }

func object(required []string, properties obj) obj {
	return obj{"type": "object", "required": required, "properties": properties}
}

func (p *Product) modelProperty() obj { return obj{"type": "string", "examples": []any{p.Model}} }

func (p *Product) chatRequest() obj {
	most := obj{"type": "integer", "minimum": 1}
	if p.MaxOutput > 0 {
		most["default"] = p.MaxOutput
	}
	return object([]string{"model", "messages"}, obj{
		"model": p.modelProperty(),
		"messages": obj{"type": "array", "minItems": 1, "items": object([]string{"role"}, obj{
			"role":    obj{"type": "string", "examples": []any{"system", "user", "assistant", "tool"}},
			"content": obj{"description": "Text, or a list of content parts"},
		})},
		"stream":                obj{"type": "boolean", "default": false},
		"stream_options":        obj{"type": "object", "properties": obj{"include_usage": obj{"type": "boolean"}}},
		"max_completion_tokens": most,
		"temperature":           obj{"type": "number"},
		"top_p":                 obj{"type": "number"},
		"tools":                 obj{"type": "array", "items": obj{"type": "object"}},
	})
}

func (p *Product) embeddingsRequest() obj {
	return object([]string{"model", "input"}, obj{
		"model": p.modelProperty(),
		"input": obj{"description": "A text, or a list of texts"},
	})
}

var (
	number = obj{"type": "integer", "minimum": 0}

	usageSchema = object([]string{"total_tokens"}, obj{
		"prompt_tokens": number, "completion_tokens": number, "total_tokens": number,
		"cost": obj{"type": "number", "description": "The charge, in the subscription's currency"},
	})
	chatCompletion = object([]string{"id", "object", "model", "choices"}, obj{
		"id": obj{"type": "string"}, "object": obj{"const": "chat.completion"}, "created": number, "model": obj{"type": "string"},
		"choices": obj{"type": "array", "items": object([]string{"index", "message"}, obj{
			"index": number, "message": obj{"type": "object"}, "finish_reason": obj{"type": []any{"string", "null"}},
		})},
		"usage": ref("Usage"),
	})
	embeddingsSchema = object([]string{"object", "data", "model"}, obj{
		"object": obj{"const": "list"}, "model": obj{"type": "string"},
		"data": obj{"type": "array", "items": object([]string{"index", "embedding"}, obj{
			"index": number, "object": obj{"const": "embedding"}, "embedding": obj{"description": "Numbers, or base64"},
		})},
		"usage": ref("Usage"),
	})
	errorSchema = object([]string{"error"}, obj{"error": object([]string{"message", "type"}, obj{
		"message": obj{"type": "string"}, "type": obj{"type": "string"},
		"param": obj{"type": []any{"string", "null"}}, "code": obj{"type": []any{"string", "null"}},
	})})
)
