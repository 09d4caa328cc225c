// Package task serves the capability contracts (translation, language, vision) from upstreams that do not speak them:
// it turns a call of a contract into a request of the upstream's protocol, and the upstream's answer into an answer of the
// contract, which says "engine": "upstream" and the upstream's model.
//
// It opens no connection, keeps no state and knows nothing of prices; the gateway makes the round trip between [Encode] and
// [Decode]. It does not measure either: a call costs what its route measures, whichever upstream serves it. Nothing that
// an engine of this platform stores for a customer (glossaries, memories, trained classifiers) is known here; a request that
// needs it is refused.
//
// # Chat
//
// A chat model (OpenAI chat completions) is asked for strict JSON at temperature 0, with a bound of output tokens that is
// derived from the input. Whatever comes from the caller stands between marks with a key that occurs nowhere in it, so that no
// text can end its fence; only what was checked against a list or a pattern stands outside. Documents are taken apart first: of
// JSON only string values, of subtitles only the lines of cues are ever seen by the model. Pictures go as data URLs, upright and
// without the metadata of the file. text.generate and text.dialogue are the caller's own prompts and go as they are.
//
// # Flask
//
// The bare translation app: POST /translate {text, sourceLanguage, targetLanguage} → {translation}. One text a call, or several of
// one line each as its lines, with the language codes as the caller wrote them, "auto" for a source that is to be found out.
//
// # KServe
//
// The open inference protocol v2 (Triton Inference Server, KServe, OpenVINO, MLServer) in JSON without binary tensors: POST
// /v2/models/MODEL/infer. A model that serves an operation is written like this:
//
//   - The request's parameter "operation" is the route's name, "translate" for all shapes of translation. Further parameters
//     are the request's options; a list among them is JSON in a string. Options that the caller did not give are missing.
//   - There is one input, of datatype BYTES and shape [n, 1], one element an item, so that a Triton model with batching
//     declares it as dims: [ 1 ]. It is called "text", or "image" with the image file in base64. That of text.dialogue has one
//     element: the list of messages, {"role", "text"}, in JSON.
//   - Of the outputs those with the names below are read, whatever their order; where one text is the whole answer and
//     no output has its name, the first output. Shapes are not looked at: n elements in row-major order, flat or nested, have
//     to be there for n items. A status other than 200, or a field "error", is a failure.
//
// The operations with their parameters and outputs, BYTES unless said otherwise; those in brackets may be missing:
//
//	translate         target [source format formality context glossary]  translation [source: codes]
//	text.classify     labels [examples language]                         scores, or label [confidence]
//	text.sentiment    labels [aspects language]                          scores, or label [confidence] [language]; with aspects: aspects
//	text.language     top                                                scores, or label [confidence]
//	text.summarise    sentences or ratio [query language]                summary [language]
//	text.keywords     top [language]                                     json [language]: lists of {"keyword", "score"}
//	text.entities     types [language]                                   json [language]: lists of {"text", "type", "confidence"}
//	text.generate     max_tokens [temperature top_p stop system]         text
//	text.dialogue     max_tokens [temperature top_p stop system]         text
//	vision.classify   top [labels]                                       scores, or label (m) [confidence (m)]
//	vision.detect     max min_confidence [labels]                        label (m), boxes (FP32, m × 4) [confidence (FP32, m)]
//	vision.ocr        [language]                                         text [confidence], or lines: a list of {"text", "confidence", "box"}
//
// "scores" is FP32, n × labels, probabilities and not logits; "confidence" is FP32. The names of scores are the labels that were
// asked for, unless the answer has names of its own: an output "labels", or a parameter "labels" of the answer or of "scores", a
// JSON list in a string. Labels of text.language are ISO 639 codes; those of text.sentiment positive, neutral, negative. "json",
// "lines" and "aspects" (lists of {"aspect", "sentiment", "score", "confidence", "mentions"}) have a JSON text for each
// item. A box is x, y, width, height as parts of the upright picture's width and height.
//
// Invariants: Encode and Decode are functions of their arguments alone; an answer of Decode is one of the operation, or an
// error: labels are among those asked for, as many answers as questions, numbers in their range.
package task
