package translate

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/db"
)

// SeedDemo gives the owner a glossary and a few units of translation memory, for the demonstration. What is there already
// stays.
func (e *Engine) SeedDemo(ctx context.Context, owner string) error {
	have, err := e.store.glossaries(ctx, owner)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		if _, err := e.store.createGlossary(ctx, owner, "Tollgate", []Dictionary{
			{Source: "en", Target: "zh", Terms: []Term{{"API gateway", "接口网关"}, {"gateway", "网关"}, {"rate card", "价目表"}, {"settlement", "结算"}, {"wallet", "钱包"}}},
			{Source: "zh", Target: "en", Terms: []Term{{"接口网关", "API gateway"}, {"网关", "gateway"}, {"价目表", "rate card"}, {"结算", "settlement"}, {"钱包", "wallet"}}},
		}); err != nil {
			return err
		}
	}
	var n int64
	if err := e.o.DB.View(ctx, func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM translate_sealed_unit WHERE owner = $1`, owner).Scan(&n)
	}); err != nil || n > 0 {
		return err
	}
	return e.store.addUnits(ctx, owner, []Unit{
		{"Your order 1001 has been shipped.", "您的订单 1001 已发货。", "en", "zh"},
		{"Thank you for your patience.", "感谢您的耐心等待。", "en", "zh"},
		{"您的订单 1001 已发货。", "Your order 1001 has been shipped.", "zh", "en"},
	})
}
