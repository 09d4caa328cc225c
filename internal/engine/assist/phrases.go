package assist

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// The bot's own sentences. Other languages are translated from English where translation is there.
var sentences = map[string]Texts{
	"greeting":  {"en": "Hello! How can I help?", "zh": "您好！请问有什么可以帮您？"},
	"hello":     {"en": "Hello! What would you like to know?", "zh": "您好！请问您想了解什么？"},
	"thanks":    {"en": "You are welcome. Is there anything else?", "zh": "不客气。还有其他可以帮您的吗？"},
	"bye":       {"en": "Goodbye!", "zh": "再见！"},
	"unsure":    {"en": "I have not found an answer to that. Could you put it another way?", "zh": "我没有找到相关的答案。您能换一种说法吗？"},
	"unsureAsk": {"en": "I have not found an answer to that. Could you put it another way, or shall I pass you on to a person? Just write “agent”.", "zh": "我没有找到相关的答案。您可以换一种说法，或输入“人工”由人工客服接待。"},
	"queued":    {"en": "I am passing you on to a person. Please stay; they will see what we have said so far.", "zh": "正在为您转接人工客服，请稍候；客服可以看到我们之前的对话。"},
	"nobody":    {"en": "Nobody can be reached here; I can only answer from what I know.", "zh": "此处没有人工客服，我只能根据现有资料回答。"},
	"missing":   {"en": "Please tell me: {slot}.", "zh": "请提供：{slot}。"},
	"again":     {"en": "I did not understand that.", "zh": "抱歉，我没有理解。"},
	"dropped":   {"en": "All right, let us leave that. What else can I do?", "zh": "好的，先不处理这个。还有什么可以帮您？"},
	"unheard":   {"en": "I did not hear anything. Could you say it again?", "zh": "我没有听清，请再说一遍。"},
}

// asks tell that the visitor wants a person; gives up, that a question of the bot is not to be answered.
var (
	asks = []string{"talk to an agent", "speak to an agent", "speak with an agent", "talk to someone", "talk to a human", "speak to a human", "need a human",
		"want a human", "human please", "speak to someone", "operator please", "talk to a person", "speak to a person", "talk to a real person", "speak to a real person",
		"转人工", "找人工", "要人工", "接人工", "人工服务", "找客服", "找真人", "要真人", "叫真人",
		"agente humano", "una persona real", "hablar con un agente", "hablar con una persona", "un conseiller", "un humain", "parler à quelqu'un",
		"mitarbeiter sprechen", "einem menschen", "operatore umano", "atendente humano"}
	// mentions are people: in a short message, or with one of the wishes, they are asked for.
	mentions  = []string{"human", "real person", "live agent", "live person", "representative", "customer service agent", "human agent", "人工", "真人", "客服人员", "接线员"}
	wishes    = []string{"i want", "i need", "i would like", "id like", "get me", "put me", "connect me", "transfer me", "give me", "let me", "我想", "我要", "给我", "帮我", "让我", "麻烦"}
	askWhole  = set("agent operator human person 客服 人工 agente conseiller mitarbeiter")
	givesUp   = []string{"cancel", "never mind", "nevermind", "forget it", "stop", "算了", "取消", "不用了", "不需要了"}
	pronouns  = set("it its that this they them those these there he she one same also more else 它 它们 这个 那个 这 那 他们 还有 其他")
	zhAnaphor = []string{"它", "这个", "那个", "那么", "那如果", "还有", "另外", "呢"}
	hellos    = []string{"hi", "hello", "hey", "good morning", "good afternoon", "good evening", "hi there", "hello there", "你好", "您好", "嗨", "早上好", "下午好", "晚上好", "在吗"}
	thanks    = []string{"thanks", "thank you", "thank you very much", "thanks a lot", "great thanks", "ok thanks", "many thanks", "谢谢", "谢谢你", "谢谢您", "多谢", "感谢", "好的谢谢"}
	goodbyes  = []string{"bye", "goodbye", "bye bye", "see you", "that is all", "thats all", "再见", "拜拜", "没有了"}
)

// smallTalk names the sentence that answers a message which is nothing but a courtesy.
func smallTalk(text string) string {
	t := bare(text)
	for key, list := range map[string][]string{"hello": hellos, "thanks": thanks, "bye": goodbyes} {
		for _, s := range list {
			if t == s {
				return key
			}
		}
	}
	return ""
}

// bare is a text in lower case without punctuation.
func bare(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case wordly(r):
			return r
		case r == '\'' || r == '’':
			return -1
		}
		return ' '
	}, strings.ToLower(text))), " ")
}

// wantsPerson reports whether a message asks for a person.
func wantsPerson(text string, more []string) bool {
	t := strings.ReplaceAll(bare(text), "人工智能", "") // artificial intelligence
	if askWhole[t] {
		return true
	}
	for _, p := range more {
		if p = bare(p); p != "" && hasWord(t, p) {
			return true
		}
	}
	if strings.Contains(t, "not a human") || strings.Contains(t, "are you human") || strings.Contains(t, "are you a human") {
		return false
	}
	for _, p := range asks {
		if hasWord(t, bare(p)) {
			return true
		}
	}
	return (brief(t) || hasAny(t, wishes)) && hasAny(t, mentions)
}

func hasAny(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return hasWord(text, w) })
}

// brief reports a message of few words: six, or eight characters of a script without spaces.
func brief(t string) bool {
	if script(t) == "zh" {
		return !longer(t, 8)
	}
	return len(strings.Fields(t)) <= 6
}

func givesItUp(text string) bool {
	t := bare(text)
	for _, p := range givesUp {
		if t == p || len(t) < 40 && strings.HasPrefix(t, p) {
			return true
		}
	}
	return false
}

// leansBack reports whether a question can only be understood by what was asked before.
func leansBack(text string) bool {
	words := strings.Fields(bare(text))
	if script(text) == "zh" {
		if len([]rune(text)) <= 6 {
			return true
		}
		for _, p := range zhAnaphor {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	if len(words) <= 3 {
		return true
	}
	if strings.HasPrefix(bare(text), "what about") || strings.HasPrefix(bare(text), "how about") || words[0] == "and" {
		return true
	}
	for _, w := range words {
		if pronouns[w] {
			return len(words) <= 10
		}
	}
	return false
}

// rendering is a text in the language it is told in. Where that is a translation, original is the text before it, translator the
// engine that made it and quality what kind it is: "dictionary" for a gloss.
type rendering struct{ text, lang, original, translator, quality string }

// tell is r as a message of the bot.
func (r rendering) tell() Message {
	return Message{Role: "bot", Text: r.text, Language: r.lang, Original: r.original, Translator: r.translator, Quality: r.quality, Engine: engineName}
}

// with changes the text, and the one that it is a translation of.
func (r rendering) with(change func(string) string) rendering {
	if r.text = change(r.text); r.original != "" {
		r.original = change(r.original)
	}
	return r
}

// after puts another text before r; what is a gloss in part is one.
func (r rendering) after(first rendering) rendering {
	if first.translator != "" && (r.translator == "" || first.quality == "dictionary") {
		r.translator, r.quality = first.translator, first.quality
		r.original = cmp.Or(r.original, r.text)
	}
	if r.original != "" {
		r.original = cmp.Or(first.original, first.text) + " " + r.original
	}
	r.text = first.text + " " + r.text
	return r
}

// sentence is one of the bot's own, in the visitor's language if that can be.
func (e *Engine) sentence(ctx context.Context, b *Bot, key, lang string) rendering {
	return e.local(ctx, sentences[key], lang, b.Languages[0])
}

// local is a text in the language wanted: as written, else translated, else in the bot's own language.
func (e *Engine) local(ctx context.Context, t Texts, lang, own string) rendering {
	if s, ok := t[lang]; ok {
		return rendering{text: s, lang: lang}
	}
	s, from := t.pick(own)
	if from == "" {
		from = own
	}
	return e.translate(ctx, s, from, lang)
}

// translate gives the text in a language, or as it is and in what it is where that cannot be done.
func (e *Engine) translate(ctx context.Context, text, from, to string) rendering {
	same := rendering{text: text, lang: from}
	if from == to || to == "" || e.o.Translate == nil || strings.TrimSpace(text) == "" {
		return same
	}
	out, err := e.o.Translate(ctx, text, from, to)
	if err != nil || strings.TrimSpace(out.Text) == "" {
		e.log.Debug("assist: not translated", "from", from, "to", to, "error", err)
		return same
	}
	if out.Text == text {
		return rendering{text: text, lang: to}
	}
	return rendering{out.Text, to, text, out.Engine, out.Quality}
}
