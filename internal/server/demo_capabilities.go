package server

import (
	"context"
	"fmt"
	"io"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/gateway"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// sold is a product of the platform's own engines as the demo sells it.
type sold struct {
	product  catalog.ProductInput
	upstream string // builtin://…
	model    string // of the engine
	card     string
	try      string // arguments of curl, after the key's header; a line to try
}

// unit is a rate card's line: a price for so many units of a meter.
func unit(meter, price string, per int) string {
	return fmt.Sprintf("  - {name: %s, meter: %s, pricing: per_unit, price: %q, per: %d}\n", meter, meter, price, per)
}

const usd = "currency: USD\nlines:\n"

// shelf is what the demo sells of the platform's own engines, each in its natural unit.
func shelf() []sold {
	caps := func(c ...catalog.Capability) []catalog.Capability { return c }
	return []sold{
		{product: catalog.ProductInput{Name: "translate", Capabilities: caps(catalog.Translate), Input: mods("text", "audio", "file"), Output: mods("text", "audio"),
			Title: catalog.Text{En: "Translation", Zh: "智能翻译"},
			Description: catalog.Text{En: "Text, HTML, Markdown, JSON, subtitles and documents; glossaries and translation memory. Chinese and English by dictionary, which is a gloss and says so; European languages by Apertium where it is installed.",
				Zh: "文本、HTML、Markdown、JSON、字幕与文档；术语表与翻译记忆。中英互译由词典完成，仅为逐词释义并如实标注；安装 Apertium 后支持欧洲语言。"}},
			upstream: "translate", card: usd + unit("characters", "5", 1_000_000) + unit("audio_seconds", "0.006", 60),
			try: `$TOLLGATE_URL/v1/translate -d '{"text":"The weather is fine today.","target":"zh"}'`},
		{product: catalog.ProductInput{Name: "language", Capabilities: caps(catalog.TextCapability),
			Title: catalog.Text{En: "Language", Zh: "自然语言处理"},
			Description: catalog.Text{En: "Classify by your own labels, sentiment, summary, keywords, entities, language identification, similarity.",
				Zh: "按自定义标签分类、情感分析、摘要、关键词、实体、语种识别、相似度。"}},
			upstream: "text", card: usd + unit("characters", "2", 1_000_000),
			try: `$TOLLGATE_URL/v1/text/sentiment -d '{"text":"The delivery was late, but the support was wonderful."}'`},
		{product: catalog.ProductInput{Name: "sentence-vectors", Capabilities: caps(catalog.Embeddings),
			Title: catalog.Text{En: "Sentence vectors", Zh: "句向量"},
			Description: catalog.Text{En: "Embeddings in the OpenAI shape: Universal Sentence Encoder lite (512 dimensions, English) where it is installed, hashed n-grams otherwise.",
				Zh: "OpenAI 格式的向量：已安装时为 Universal Sentence Encoder lite（512 维，英语），否则为散列 n 元组。"}},
			upstream: "vectors", card: tokenCard,
			try: `$TOLLGATE_URL/v1/embeddings -d '{"model":"sentence-vectors","input":"How do I top up?"}'`},
		{product: catalog.ProductInput{Name: "speech", Capabilities: caps(catalog.Transcribe, catalog.Speak), Input: mods("audio", "text"), Output: mods("text", "audio"),
			Title: catalog.Text{En: "Speech", Zh: "语音"},
			Description: catalog.Text{En: "Speech to text, text to speech and voice activity in the OpenAI shape, and live recognition over WebSocket. Recognition offline is of demo grade.",
				Zh: "OpenAI 格式的语音识别、语音合成与语音活动检测，并支持 WebSocket 实时识别。离线识别仅为演示级。"}},
			upstream: "speech", card: usd + unit("audio_seconds", "0.006", 60) + unit("characters", "15", 1_000_000),
			try: `$TOLLGATE_URL/v1/audio/speech -d '{"model":"speech","voice":"alloy","response_format":"wav","input":"Every call is settled to the last unit."}' -o speech.wav`},
		{product: catalog.ProductInput{Name: "vision", Capabilities: caps(catalog.Vision), Input: mods("image"), Output: mods("text", "image"),
			Title: catalog.Text{En: "Vision", Zh: "图像"},
			Description: catalog.Text{En: "Enlarge, denoise and restore images; with the neural engines installed also objects, faces, text in images, and moderation.",
				Zh: "图像放大、降噪与修复；安装神经网络引擎后还可识别物体、人脸、图中文字并做内容审核。"}},
			upstream: "vision", card: usd + unit("images", "0.001", 1),
			try: `$TOLLGATE_URL/v1/vision/enhance -d '{"scale":4,"image":"iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAKUlEQVR42kXJwQkAQAwCQSuxzu3eJAh3H3FYQQyObhZRDar3vFTHP9UwL7kmF9fnYtkAAAAASUVORK5CYII="}' -H 'Accept: image/png' -o larger.png`},
		{product: catalog.ProductInput{Name: "assist", Capabilities: caps(catalog.Assist), Input: mods("text", "audio"), Output: mods("text", "audio"),
			Title: catalog.Text{En: "Customer service", Zh: "智能客服"},
			Description: catalog.Text{En: "Bots with knowledge bases and citations, intents, routing to people, an agent desk, voice, analytics, and a chat widget.",
				Zh: "带知识库与引文的机器人、意图、转人工路由、坐席工作台、语音、分析与聊天挂件。"}},
			upstream: "assist", card: usd + unit("messages", "0.002", 1) + unit("audio_seconds", "0.0002", 1),
			try: `$TOLLGATE_URL/v1/assist/bots/help/sessions -d '{}'`},
		{product: catalog.ProductInput{Name: "recommend", Capabilities: caps(catalog.Recommend),
			Title: catalog.Text{En: "Recommendation", Zh: "智能推荐"},
			Description: catalog.Text{En: "For you, similar to, trending: an event changes the next answer. Collaborative, content-based and hybrid ranking, rules, A/B split.",
				Zh: "猜你喜欢、相似内容、热门趋势：一个事件即改变下一次结果。协同过滤、内容与混合排序，业务规则，A/B 分流。"}},
			upstream: "recommend", card: usd + unit("requests", "0.00005", 1),
			try: `$TOLLGATE_URL/v1/recommend/spaces/shop/for-you -d '{"user":"u1","explain":true}'`},
	}
}

func mods(names ...catalog.Modality) []catalog.Modality { return names }

// capabilities sells the platform's own engines, with data to try them on.
func (d *demo) capabilities(ctx context.Context) error {
	err := d.DB.Update(ctx, func(tx *db.Tx) error {
		p, err := org.ByNameTx(tx, demoEngines)
		if err != nil {
			return err
		}
		for _, s := range shelf() {
			in := s.product
			if in.Definition, err = definition(in.Capabilities); err != nil {
				return err
			}
			if err := d.offer(tx, p, catalog.UpstreamInput{Name: s.upstream, URL: "builtin://" + s.upstream}, secret.Text{}, in, s.product.Name, s.card); err != nil {
				return fmt.Errorf("product %q: %w", s.product.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.Gateway.SetFree(gateway.Free{Key: secret.New(d.env["TOLLGATE_FREE_KEY"]), PerMinute: d.Config.FreeTier.PerMinute})
	return d.seedEngines(ctx)
}

// freeTier gives the organisation that pays for calls without a key its key and a little credit.
func (d *demo) freeTier(tx *db.Tx) func(o org.Org, fresh bool) error {
	return func(o org.Org, fresh bool) error {
		if fresh || d.env["TOLLGATE_FREE_KEY"] == "" {
			_, sec, err := d.Keys.CreateTx(tx, demoActor, auth.Draft{Kind: auth.Inference, Org: o.ID, Name: "free tier",
				Limits: auth.Limits{Requests: 120, Concurrency: 8}})
			if err != nil {
				return err
			}
			d.env["TOLLGATE_FREE_KEY"] = sec.Reveal()
		}
		if !fresh {
			return nil
		}
		_, err := billing.GrantCredit(tx, demoActor, billing.GrantInput{Org: o.ID, Amount: 10e9, Currency: "USD", Reason: "calls without a key"})
		return err
	}
}

// seedEngines gives the engines the demo's data: the manual as a knowledge base, a small shop.
func (d *demo) seedEngines(ctx context.Context) error {
	// Where the sealer's key was lost, nothing is sealed with the new one that the old one's return would make unreadable.
	if st, err := d.Vault.Status(ctx); err != nil || st.Lost > 0 {
		return err
	}
	var consumer org.Org
	err := d.DB.View(ctx, func(tx *db.Tx) (err error) {
		consumer, err = org.ByNameTx(tx, demoConsumer)
		return err
	})
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.env["TOLLGATE_BOT"], err = d.engines.seed(ctx, consumer.ID)
	return err
}

// greetEngines prints a line to try for each capability.
func (d *demo) greetEngines(w io.Writer) error {
	fmt.Fprintf(w, "The platform's own engines, each with its price in the catalogue:\n\n")
	for _, s := range shelf() {
		title := s.product.Title.En
		if _, speaks := d.engines.speech.Able(); s.upstream == "speech" && !speaks {
			title += ", once scripts/install-engines has installed a voice"
		}
		fmt.Fprintf(w, "  # %s\n  curl -H \"Authorization: Bearer $TOLLGATE_KEY\" %s\n", title, s.try)
	}
	fmt.Fprintf(w, "  # without a key: the free tier\n  curl -H 'Content-Type: application/json' %s/translate -d '{\"text\":\"good morning\",\"sourceLanguage\":\"en\",\"targetLanguage\":\"zh\"}'\n\n", d.Config.PublicURL)
	if n := d.engines.installable(); n > 0 {
		fmt.Fprintf(w, "Engine models that are not installed: %d. scripts/install-engines installs them, and `tollgate doctor` lists them.\n\n", n)
	}
	return nil
}
