package assist

import _ "embed"

//go:embed widget/widget.js
var widget []byte

// Widget is the chat window for web pages, one script without dependencies; it is served at /assist/widget.js. The page gives it
// a bot and a key that is bound to the page's address; see the head of the script.
func Widget() []byte { return widget }
