package assist

import (
	_ "embed"
	"fmt"
	"unicode/utf16"
)

//go:embed widget/widget.js
var widget []byte

// Widget is the chat window for web pages, one script without dependencies; it is served at /assist/widget.js. The page gives it
// a bot and a key that is bound to the page's address; see the head of the script. It is ASCII, for a page in another encoding reads
// a script in its own.
func Widget() []byte {
	out := make([]byte, 0, len(widget)+len(widget)/8)
	for _, r := range string(widget) {
		if r < 0x80 {
			out = append(out, byte(r))
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, u)
		}
	}
	return out
}
