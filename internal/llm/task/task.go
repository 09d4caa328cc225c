package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Call is a call of a contract. Decode gets the same Call as Encode.
type Call struct {
	Operation string // the route's name: "text.classify"
	Type      string // Content-Type of Body; a multipart form is read as an object with the same fields, "" as JSON
	Body      []byte // the contract's request
	Model     string // the upstream's name of the model
	Units     int64  // what the call was measured at, in its route's unit: told in answers that have such a field; 0 if unknown
}

// Protocol is how an upstream is spoken to.
type Protocol string

// The protocols.
const (
	Chat   Protocol = "chat"   // OpenAI chat completions
	KServe Protocol = "kserve" // open inference protocol v2
	Flask  Protocol = "flask"  // POST /translate {text, sourceLanguage, targetLanguage}
)

// operation is a call that has been read and checked, and knows what its answer must look like.
type operation interface {
	// ask tells a chat model what to do.
	ask(p *prompt)
	// hear reads what a chat model answered: its text.
	hear(text string) (any, error)
	// infer gives the inputs and parameters of an inference.
	infer() ([]tensor, map[string]any)
	// inferred reads the outputs of an inference.
	inferred(o *outputs) (any, error)
}

// operations are the names of what can be asked of a larger model, each with its reader. Similarity and embeddings are
// not here: a chat model would invent the numbers.
func operations() map[string]func(*Call) (operation, error) {
	return map[string]func(*Call) (operation, error){
		"translate":                 readTranslate, // the route's name without its family
		"translate.text":            readTranslate,
		"translate.plain":           readPlain,
		"translate.libre.translate": readLibre,
		"translate.deepl.translate": readDeepL,
		"text.classify":             readClassify,
		"text.sentiment":            readSentiment,
		"text.summarise":            readSummarise,
		"text.keywords":             readKeywords,
		"text.entities":             readEntities,
		"text.language":             readLanguage,
		"text.generate":             readGenerate,
		"text.dialogue":             readDialogue,
		"vision.classify":           readVisionClassify,
		"vision.detect":             readDetect,
		"vision.ocr":                readOCR,
	}
}

// Supports reports whether the operation can be served over the protocol. No answer is streamed, text.generate and
// text.dialogue with stream neither: such a request is refused by Encode, and belongs to an upstream that speaks the
// contract.
func Supports(p Protocol, operation string) bool {
	switch p {
	case Chat, KServe:
		return operations()[operation] != nil
	case Flask:
		return operations()[operation] != nil && strings.HasPrefix(operation, "translate")
	}
	return false
}

// Encode makes the upstream's request: a JSON body to be POSTed to path, which goes below the upstream's base URL. An
// error is a *problem.Error: the caller's fault, or NotFound for what Supports denies.
func Encode(p Protocol, c *Call) (path string, body []byte, err error) {
	op, err := read(p, c)
	if err != nil {
		return "", nil, err
	}
	switch p {
	case Flask:
		body, err = askFlask(op)
		return "/translate", body, err
	case KServe:
		in, params := op.infer()
		params["operation"] = c.Operation
		if _, ok := op.(*translate); ok { // whatever the shape of the contract
			params["operation"] = "translate"
		}
		return inferPath(c.Model), marshal(inference{params, in}), nil
	default:
		r, err := chat(c.Model, op)
		return "/chat/completions", r, err
	}
}

// Decode makes the contract's answer from the body of the upstream's successful answer. usage has the tokens that the
// upstream reported, by the names it gave them; it is for information, and given with some errors too. The error is a
// *problem.Error of kind Upstream where the answer cannot be used: another target may do better.
func Decode(p Protocol, c *Call, answer []byte) (body []byte, usage map[string]int64, err error) {
	op, err := read(p, c)
	if err != nil {
		return nil, nil, err
	}
	if len(answer) > maxAnswer || !utf8.Valid(answer) {
		return nil, nil, unusable("too long, or no UTF-8")
	}
	var v any
	switch p {
	case Flask:
		v, err = hearFlask(op, answer)
	case KServe:
		var o *outputs
		if o, err = readOutputs(answer); err == nil {
			v, err = op.inferred(o)
		}
	default:
		v, usage, err = hearChat(op, answer)
	}
	if err != nil {
		var known *problem.Error
		if !errors.As(err, &known) {
			err = unusable(err.Error())
		}
		return nil, usage, err
	}
	return marshal(stamped{v, c.Model}), usage, nil
}

// read reads the call for the protocol.
func read(p Protocol, c *Call) (operation, error) {
	if !Supports(p, c.Operation) {
		return nil, problem.New(problem.NotFound, "llm.task_unsupported", "%s cannot be served by the model behind this product; choose another model", c.Operation)
	}
	return operations()[c.Operation](c)
}

// stamped is an answer with the names of engine and model.
type stamped struct {
	answer any // a struct
	model  string
}

// MarshalJSON writes the fields of the answer and then engine and model.
func (s stamped) MarshalJSON() ([]byte, error) {
	b := bytes.TrimSuffix(marshal(s.answer), []byte("}"))
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, `"engine":"upstream","model":`...)
	return append(append(b, marshal(s.model)...), '}'), nil
}

// chat is the request for a chat model.
func chat(model string, op operation) ([]byte, error) {
	var p prompt
	op.ask(&p)
	if p.least > maxWritten {
		return nil, tooLong(maxWritten)
	}
	key := p.key()
	if !p.free {
		p.temperature = new(float64)
	}
	r := &chatRequest{Model: model, Temperature: p.temperature, MaxTokens: p.maxTokens(), TopP: p.topP, Stop: p.stop}
	if p.shape != "" {
		r.Format = &chatFormat{"json_object"}
	}
	if system := p.system(key); system != "" {
		r.Messages = append(r.Messages, chatMessage{"system", system})
	}
	for _, t := range p.turns {
		r.Messages = append(r.Messages, chatMessage{t.Role, t.Content})
	}
	switch text := p.user(key); {
	case len(p.pictures) > 0:
		parts := []chatPart{}
		if text != "" {
			parts = append(parts, chatPart{Type: "text", Text: text})
		}
		for _, pic := range p.pictures {
			parts = append(parts, chatPart{Type: "image_url", Image: &chatImage{pic.url()}})
		}
		r.Messages = append(r.Messages, chatMessage{"user", parts})
	case text != "":
		r.Messages = append(r.Messages, chatMessage{"user", text})
	}
	return marshal(r), nil
}

// hearChat reads a chat completion. The mark of the fences has no place in an answer.
func hearChat(op operation, answer []byte) (v any, usage map[string]int64, err error) {
	text, usage, err := chatText(answer)
	if err != nil && !(errors.Is(err, errCut) && mayBeCut(op)) {
		return nil, usage, err
	}
	var p prompt
	op.ask(&p)
	if len(p.blocks) > 0 && strings.Contains(text, p.key()) {
		return nil, usage, errors.New("the answer has the marks of the prompt")
	}
	v, err = op.hear(text)
	return v, usage, err
}

// oneOf reports whether a word is on the list; "" is what was not given.
func oneOf(word string, list ...string) bool { return word == "" || slices.Contains(list, word) }

// invalid is a caller's fault in a field.
func invalid(field, why string) error {
	return problem.New(problem.Invalid, "llm.task_field", "%q: %s", field, why).WithField(field, "%s", why)
}

func (c *Call) multipart() bool {
	return len(c.Type) >= 10 && strings.EqualFold(c.Type[:10], "multipart/")
}

// body reads the call's body into v.
func (c *Call) body(v any) error {
	data := c.Body
	if c.multipart() {
		var err error
		if data, err = formJSON(c.Type, c.Body); err != nil {
			return err
		}
	}
	if !utf8.Valid(data) {
		return problem.New(problem.Invalid, "llm.task_body", "the request body is not a valid JSON object")
	}
	if err := json.Unmarshal(data, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) && t.Field != "" {
			return invalid(t.Field, "has the wrong type")
		}
		return problem.New(problem.Invalid, "llm.task_body", "the request body is not a valid JSON object").Because(err)
	}
	return nil
}
