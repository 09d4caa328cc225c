package assist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// HelpBot is the name of the bot that [Engine.SeedDemo] makes.
const HelpBot = "help"

const helpKnowledge = "Manual"

// SeedDemo gives an organisation the bot "help", whose knowledge is a manual (one folder for each language, Markdown files), with two
// queues and an agent, and returns the bot's id. It may run again: the manual is read anew, what people have changed stays.
func (e *Engine) SeedDemo(ctx context.Context, owner string, manual fs.FS) (bot string, err error) {
	kb, err := e.seedKnowledge(ctx, owner)
	if err != nil {
		return "", err
	}
	names, err := fs.Glob(manual, "*/*.md")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		data, err := fs.ReadFile(manual, name)
		if err != nil {
			return "", err
		}
		title := firstHeading(string(data))
		if title == "" {
			title = strings.TrimSuffix(path.Base(name), ".md")
		}
		if err := e.seedDocument(ctx, owner, kb, input{"file", title, name, name, path.Dir(name), string(data)}); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		b, err := readBot(tx, owner, HelpBot)
		if problem.Is(err, problem.NotFound) {
			b, err = seedBot(tx, owner, kb)
		}
		if err == nil {
			bot = b.ID
		}
		return err
	})
	return bot, err
}

// seedDocument stores a document that is not there yet, or is another, without its vectors: a start does not wait for
// them. See Embed.
func (e *Engine) seedDocument(ctx context.Context, owner, kb string, in input) error {
	in.text = normalise(in.text)
	have, err := e.sameDocument(ctx, owner, kb, &in)
	if err != nil {
		return err
	}
	embeds := e.o.Embed != nil && slices.Contains(e.o.EmbedLanguages, in.language)
	if embeds && (have == nil || !have.Vectors) {
		e.mu.Lock()
		e.unembedded = append(e.unembedded, unembedded{owner, kb, in})
		e.mu.Unlock()
	}
	if have != nil {
		return nil
	}
	var s searchData
	if s.Passages = split(in.text); len(s.Passages) == 0 {
		return nil
	}
	return e.o.DB.Update(ctx, func(tx *db.Tx) error {
		_, err := e.putTx(tx, owner, kb, in, s)
		return err
	})
}

// unembedded is a document without its vectors.
type unembedded struct {
	owner, knowledge string
	in               input
}

// sameDocument is the stored document of the same source and text, or nil.
func (e *Engine) sameDocument(ctx context.Context, owner, kb string, in *input) (same *Document, err error) {
	err = e.o.DB.View(ctx, func(tx *db.Tx) error {
		var id string
		err := tx.QueryRow(`SELECT id FROM assist_document WHERE owner = $1 AND knowledge = $2 AND source = $3`, owner, kb, sourceKey(in.kind, in.key)).Scan(&id)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		d, err := e.readDocument(tx, owner, kb, id)
		if err == nil && d.Text == in.text && d.Title == oneLine(in.title, 200) {
			same = d
		}
		return err
	})
	return same, err
}

// Embed gives one document that SeedDemo stored its vectors, and reports whether there are more. A scheduler calls it.
func (e *Engine) Embed(ctx context.Context) (more bool, err error) {
	e.mu.Lock()
	if len(e.unembedded) == 0 {
		e.mu.Unlock()
		return false, nil
	}
	w := e.unembedded[0]
	e.unembedded = e.unembedded[1:]
	more = len(e.unembedded) > 0
	e.mu.Unlock()
	_, err = e.put(ctx, w.owner, w.knowledge, w.in)
	return more, err
}

func (e *Engine) seedKnowledge(ctx context.Context, owner string) (id string, err error) {
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		all, err := listKnowledge(tx, owner)
		if err != nil {
			return err
		}
		for _, k := range all {
			if k.Name == helpKnowledge {
				id = k.ID
				return nil
			}
		}
		k := &Knowledge{Name: helpKnowledge}
		err = insertKnowledge(tx, owner, k)
		id = k.ID
		return err
	})
	return id, err
}

func seedBot(tx *db.Tx, owner, kb string) (*Bot, error) {
	support := &Queue{Name: "Support", Languages: []string{}, Skills: []string{"support"}, Examples: []string{
		"my program gets an error", "the key does not work", "how do I call a model", "it is down", "我的程序报错", "密钥不能用", "怎么调用模型"}}
	billing := &Queue{Name: "Billing", Languages: []string{}, Skills: []string{"billing"}, Priority: 1, Examples: []string{
		"I was charged too much", "my invoice is wrong", "refund my wallet", "I want to top up", "payment failed", "扣费错误", "发票有问题", "我要退款", "充值失败"}}
	for _, q := range []*Queue{support, billing} {
		if err := writeQueue(tx, owner, q); err != nil {
			return nil, err
		}
	}
	agent := &Agent{Name: "Alex", Status: "online", Capacity: 5, Automatic: true, Skills: []string{"support", "billing"}, Languages: []string{}}
	if err := writeAgent(tx, owner, agent); err != nil {
		return nil, err
	}
	b := &Bot{Name: HelpBot, Languages: []string{"en", "zh"}, Knowledge: []string{kb}, Queues: []string{support.ID, billing.ID},
		Greeting: Texts{"en": "Hello! Ask me about calling models, keys, prices, money or running the platform. I quote its manual.",
			"zh": "您好！您可以问我如何调用模型、密钥、价格、费用以及平台运维。我会引用平台手册回答。"},
		Intents: []Intent{{Name: "charge_question", Action: "handover", Queue: billing.ID, Priority: 2,
			Examples: []string{"I was charged twice", "there is a wrong charge on my wallet", "I dispute a charge", "give me my money back", "我被重复扣费了", "这笔扣费不对", "把钱退给我"},
			Slots:    []Slot{{Name: "call", Type: "text", Pattern: `\bevt_[0-9a-z]{26}\b`, Optional: true}}}}}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, writeBot(tx, owner, b)
}
