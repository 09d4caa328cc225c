// Package text is the natural-language engine: classification, sentiment, summaries, keywords, entities, language,
// similarity and sentence vectors.
//
// Everything works with Go alone, by rules, counting and linear models of its own. What scripts/install-engines adds
// (a language model of 176 languages, a sentence encoder, sentiment lexicons) is loaded when it is first needed. Nothing
// here generates text: that is told to be an upstream's task.
package text
