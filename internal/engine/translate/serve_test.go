package translate

import "testing"

// The source document's example calls POST /translate with these three fields and reads translation.
func TestPlain(t *testing.T) {
	e := newEngine(t)
	a := post(t, e, "/translate", map[string]any{"text": "Hello", "sourceLanguage": "en", "targetLanguage": "zh"})
	if a["translation"] != "你好" || a["quality"] != qualityDictionary {
		t.Errorf("answer %v", a)
	}
	for name, c := range map[string]struct{ body, id string }{
		"empty":        {"", "engine.empty_body"},
		"no text":      {`{"sourceLanguage":"en","targetLanguage":"zh"}`, "engine.invalid"},
		"no target":    {`{"text":"a","sourceLanguage":"en"}`, "engine.invalid"},
		"bad language": {`{"text":"a","sourceLanguage":"en","targetLanguage":"klingonish!"}`, "engine.invalid"},
		"no pair":      {`{"text":"a","sourceLanguage":"en","targetLanguage":"th"}`, "translate.no_pair"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, e, "POST", "/translate", "application/json", []byte(c.body), c.id)
		})
	}
}
