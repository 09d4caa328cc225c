package translate

import (
	"strings"
	"unicode"
)

// names are the languages that some engine here knows, in English.
var names = map[string]string{
	"af": "Afrikaans", "an": "Aragonese", "ast": "Asturian", "be": "Belarusian", "bg": "Bulgarian", "bs": "Bosnian", "ca": "Catalan",
	"ca-valencia": "Valencian", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "en-US": "English (United States)", "eo": "Esperanto",
	"es": "Spanish", "et": "Estonian", "eu": "Basque", "fi": "Finnish", "fr": "French", "gl": "Galician", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
	"id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ms": "Malay",
	"nb": "Norwegian Bokmål", "nl": "Dutch", "nn": "Norwegian Nynorsk", "oc": "Occitan", "pl": "Polish", "pt": "Portuguese", "pt-BR": "Portuguese (Brazil)",
	"ro": "Romanian", "ru": "Russian", "sc": "Sardinian", "sh": "Serbo-Croatian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "szl": "Silesian",
	"ar": "Arabic", "br": "Breton", "cs": "Czech", "fa": "Persian", "he": "Hebrew", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
	"zh": "Chinese (simplified)", "zh-Hant": "Chinese (traditional)",
}

// Auto asks for the source language to be identified.
const auto = "auto"

// normal gives the name by which the engines know a language, from a BCP 47 tag, an ISO 639 code, or DeepL's or
// LibreTranslate's spelling of one. ok is false for what is no language tag.
func normal(tag string) (lang string, ok bool) {
	t := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(tag), "_", "-"))
	switch t {
	case "", "auto", "detect":
		return auto, true
	case "zh", "zh-cn", "zh-hans", "zh-sg", "zho", "chi", "cmn", "zh-hans-cn", "zt-hans", "chinese", "中文":
		return "zh", true
	case "zh-tw", "zh-hk", "zh-mo", "zh-hant", "zh-hant-tw", "zh-hant-hk", "zt":
		return "zh-Hant", true
	case "en-us", "pt-br", "ca-valencia":
		base, region, _ := strings.Cut(t, "-")
		if region != "valencia" {
			region = strings.ToUpper(region)
		}
		return base + "-" + region, true
	case "pb":
		return "pt-BR", true
	case "no":
		return "nb", true
	}
	base, _, _ := strings.Cut(t, "-")
	if len(base) < 2 || len(base) > 3 || len(t) > 35 || strings.IndexFunc(base, func(r rune) bool { return r < 'a' || r > 'z' }) >= 0 {
		return "", false
	}
	if two, ok := threeLetters[base]; ok {
		base = two
	}
	return base, true
}

// threeLetters are the ISO 639-3 codes in the names of Apertium's modes.
var threeLetters = map[string]string{
	"afr": "af", "arg": "an", "bel": "be", "bul": "bg", "cat": "ca", "dan": "da", "eng": "en", "epo": "eo", "eus": "eu", "fra": "fr", "glg": "gl", "hbs": "sh", "hin": "hi",
	"hrv": "hr", "ind": "id", "isl": "is", "ita": "it", "mkd": "mk", "nld": "nl", "nno": "nn", "nob": "nb", "oci": "oc", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru",
	"slv": "sl", "spa": "es", "srd": "sc", "srp": "sr", "swe": "sv", "ukr": "uk", "urd": "ur", "zlm": "ms", "zho": "zh", "deu": "de", "jpn": "ja", "kor": "ko",
}

// stopWords are frequent words that tell Latin languages apart.
var stopWords = map[string]string{
	"en": "hi hello hey bye ok yes please thanks i the and is are was am like me were you that this with for not have of to in it he she they we what do from be at on will would can has had your my his",
	"es": "el la los las que es y no en una por con para pero está están muy como más qué del al lo se su sus me te yo él ella hay fue son ¿",
	"ca": "el els les és i una amb però per què molt més aquest aquesta del dels al no en seva seu són hi ha fou jo tu també nosaltres",
	"fr": "le la les des est et un une dans que qui pour pas avec sur nous vous je il elle ce cette sont mais très au aux du être à",
	"pt": "o a os as é e um uma em que não com para mas por do da dos das no na muito eu ele ela você são está foi também ao",
	"it": "il lo la gli le è e un una che di non con per sono ma molto del della nel questo questa come più anche io lui lei ho ha",
	"ro": "și este un o în nu cu pe la că mai sunt pentru care din dar foarte am ai are",
	"gl": "o a os as é e un unha en que non con para pero por do da dos das no na moi eu el ela vostede son está foi tamén",
	"eo": "la kaj estas en ne mi vi li ŝi ni ili de al por kun sed tre kiu tio ĉi estis havas",
	"de": "der die das und ist nicht ein eine ich du er sie wir ihr mit für auf den dem von zu im war aber sehr",
	"nl": "de het een en is niet ik je hij zij wij met voor op van dat in te maar zeer heb heeft",
	"sv": "och är en ett det inte jag du han hon vi med för på av som den har var men mycket",
	"da": "og er en et det ikke jeg du han hun vi med for på af som den har var men meget",
	"nb": "og er en et det ikke jeg du han hun vi med for på av som den har var men veldig",
	"eu": "eta da bat ez dut zen du dira oso baina hau hori nire zure izan",
	"is": "og er ekki ég þú hann hún við með fyrir á að sem það en mjög var",
	"oc": "lo la los las es e un una amb que non per mas dins dau plan",
	"hr": "i je u na se da ne su za od s ali što kao vrlo sam si smo",
	"af": "die en is nie ek jy hy sy ons met vir op van dat in 'n baie het",
}

// guess identifies a language by its script and frequent words. It is what is used where nothing better is connected.
func guess(text string) (lang string, confidence float64) {
	scripts := map[string]int{}
	letters := 0
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		switch {
		case unicode.Is(unicode.Han, r):
			scripts["zh"]++
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			scripts["ja"] += 3
		case unicode.Is(unicode.Hangul, r):
			scripts["ko"]++
		case unicode.Is(unicode.Cyrillic, r):
			scripts["ru"]++
			if strings.ContainsRune("іїєґІЇЄҐ", r) {
				scripts["uk"] += 20
			}
			if strings.ContainsRune("ѓќѕџљњјЃЌ", r) {
				scripts["mk"] += 20
			}
		case unicode.Is(unicode.Arabic, r):
			scripts["ar"]++
		case unicode.Is(unicode.Hebrew, r):
			scripts["he"]++
		case unicode.Is(unicode.Devanagari, r):
			scripts["hi"]++
		case unicode.Is(unicode.Greek, r):
			scripts["el"]++
		case unicode.Is(unicode.Thai, r):
			scripts["th"]++
		default:
			scripts["latin"]++
		}
	}
	if letters == 0 {
		return "", 0
	}
	best := ""
	for _, s := range []string{"zh", "ja", "ko", "mk", "uk", "ru", "ar", "he", "hi", "el", "th", "latin"} {
		n := scripts[s]
		if s == "zh" {
			n *= 2 // a character is worth more than a letter
		}
		if best == "" && n > 0 || best != "" && n > scripts[best]*(1+b2i(best == "zh")) {
			best = s
		}
	}
	if best != "latin" {
		if best == "zh" && traditional(text) {
			best = "zh-Hant"
		}
		return best, 0.9
	}
	return guessLatin(text)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func guessLatin(text string) (lang string, confidence float64) {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' && r != '¿' })
	best, second := 0, 0
	lang = "en"
	for _, l := range []string{"en", "es", "fr", "pt", "it", "ca", "de", "nl", "sv", "nb", "da", "ro", "gl", "eo", "eu", "is", "oc", "hr", "af"} {
		n := 0
		for _, w := range words {
			if among(" "+stopWords[l]+" ", w) {
				n++
			}
		}
		if n > best {
			lang, best, second = l, n, best
		} else if n > second {
			second = n
		}
	}
	if best == 0 {
		return "en", 0.2
	}
	return lang, min(0.95, 0.4+0.5*float64(best-second)/float64(best)+0.02*float64(best))
}

// traditionalOnly are frequent characters whose simplified form differs.
const traditionalOnly = "們個這說會對來時國為學過還沒後麼樣開關點見現發經長問間應當與從實進東車門馬書話語請讓誰買賣讀寫錢電氣飛魚鳥龍體頭題類聽覺觀記認識課誤論證"

func traditional(text string) bool { return strings.ContainsAny(text, traditionalOnly) }
