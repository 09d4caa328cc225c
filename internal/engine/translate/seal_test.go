package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// TestSealedAtRest looks for the texts in the tables, rotates the platform's key, drops the old one, and reads again.
func TestSealedAtRest(t *testing.T) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		path := filepath.Join(t.TempDir(), "key")
		s, _, err := secret.LoadOrCreate(path)
		if err != nil {
			t.Fatal(err)
		}
		e := engineOn(t, d, func(o *Options) { o.Sealer = s })
		for _, owner := range []string{"org_a", "org_b"} {
			if _, err := e.store.createGlossary(t.Context(), owner, "Tollgate", []Dictionary{{Source: "en", Target: "zh", Terms: []Term{{"gateway", "网关"}, {"API gateway", "接口网关"}}},
				{Source: "zh", Target: "en", Terms: []Term{{"网关", "gateway"}}}}); err != nil {
				t.Fatal(err)
			}
			if err := e.store.addUnits(t.Context(), owner, []Unit{{"Your order 1001 has been shipped.", "您的订单 1001 已发货。", "en", "zh"}, {"Thank you for your patience.", "感谢您的耐心等待。", "en", "zh"}}); err != nil {
				t.Fatal(err)
			}
		}
		hashes := map[string]bool{}
		err = d.View(t.Context(), func(tx *db.Tx) error {
			for _, query := range []string{`SELECT hash, sealed FROM translate_sealed_term`, `SELECT hash, sealed FROM translate_sealed_unit`} {
				err := eachRow(tx, func(rows *db.Rows) error {
					var hash string
					var value []byte
					err := rows.Scan(&hash, &value)
					if hashes[hash] || bytes.Contains(value, []byte("gateway")) || bytes.Contains(value, []byte("订单")) {
						t.Errorf("%s %q tells its text", hash, value)
					}
					hashes[hash] = true
					return err
				}, query)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(hashes) != 10 {
			t.Fatalf("%d rows: %v", len(hashes), err)
		}
		next, err := secret.Rotate(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Replace(next)
		for _, want := range []int{2, 0} {
			if n, err := e.Reseal(t.Context()); n != want || err != nil {
				t.Errorf("%d keys sealed anew, want %d: %v", n, want, err)
			}
		}
		if next, err = secret.Drop(path); err != nil {
			t.Fatal(err)
		}
		s.Replace(next)
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			counts, err := e.SealedTx(tx)
			if len(counts) != 1 || counts[s.KeyIDs()[0]] != 2 {
				t.Errorf("sealed by %v", counts)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "Thank you for your patience.", "source": "en", "target": "zh"}))
		if got["text"] != "感谢您的耐心等待。" || got["quality"] != qualityMemory {
			t.Errorf("%v", got)
		}
		// the key is lost
		lost := engineOn(t, d)
		if _, err := do(lost, "org_a", "GET", "/v1/translate/memory", "", nil); problem.As(err).ID != "translate.sealed" {
			t.Errorf("with another key: %v", err)
		}
		if got := first(t, post(t, lost, "/v1/translate", map[string]any{"text": "Thank you for your patience.", "source": "en", "target": "zh"})); got["quality"] != qualityDictionary {
			t.Errorf("without what was remembered: %v", got)
		}
		unit := map[string]any{"units": []map[string]any{{"source": "en", "target": "zh", "source_text": "Good night.", "target_text": "晚安。"}}}
		body, err := json.Marshal(unit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := do(lost, "org_a", "POST", "/v1/translate/memory", "application/json", body); problem.As(err).ID != sealedID {
			t.Errorf("beside what is lost: %v", err)
		}
		all, err := lost.store.glossaries(t.Context(), "org_a")
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		for _, path := range []string{"/v1/translate/memory?all=true", "/v1/translate/glossaries/" + all[0].ID} {
			if _, err := do(lost, "org_a", "DELETE", path, "", nil); err != nil {
				t.Fatal(path, err)
			}
		}
		if _, err := do(lost, "org_a", "POST", "/v1/translate/memory", "application/json", body); err != nil {
			t.Errorf("begun anew: %v", err)
		}
	})
}

// TestPlainRowsAreSealed starts with what versions before sealing stored.
func TestPlainRowsAreSealed(t *testing.T) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		const units = 2*plainRows + 1
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range units {
				if _, err := tx.Exec(`INSERT INTO translate_unit (owner, source_lang, target_lang, hash, source, target, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
					"org_a", "en", "zh", fmt.Sprint(i), fmt.Sprintf("Sentence %d.", i), fmt.Sprintf("第 %d 句。", i), int64(1)); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(`INSERT INTO translate_memory (owner, units, revision) VALUES ($1, $2, $3)`, "org_a", int64(units), int64(3)); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO translate_glossary (id, owner, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)`, "gls_1", "org_b", "g", int64(1), int64(1)); err != nil {
				return err
			}
			_, err := tx.Exec(`INSERT INTO translate_term (owner, glossary, source_lang, target_lang, source, target) VALUES ($1, $2, $3, $4, $5, $6)`, "org_b", "gls_1", "en", "zh", "gateway", "网关")
			return err
		}))
		e := engineOn(t, d)
		must(e.SealPlain(t.Context()))
		must(e.SealPlain(t.Context()))
		found, revision, err := e.store.exact(t.Context(), "org_a", "en", "zh", []string{"Sentence  7.", "Sentence 1000."})
		if err != nil || revision != 3 || found["Sentence  7."] != "第 7 句。" || len(found) != 2 {
			t.Errorf("%v %d %v", found, revision, err)
		}
		terms, err := e.store.terms(t.Context(), "org_b", "gls_1", "en", "zh")
		if err != nil || len(terms) != 1 || terms[0] != (Term{"gateway", "网关"}) {
			t.Errorf("%v %v", terms, err)
		}
		must(d.View(t.Context(), func(tx *db.Tx) error {
			var left, sealed int64
			if err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM translate_unit) + (SELECT COUNT(*) FROM translate_term)`).Scan(&left); err != nil {
				return err
			}
			err := tx.QueryRow(`SELECT COUNT(*) FROM translate_sealed_unit`).Scan(&sealed)
			if left != 0 || sealed != units {
				t.Errorf("%d rows are still plain, %d units sealed", left, sealed)
			}
			return err
		}))
	})
}

// BenchmarkMemory is the time of exact look-ups, and of making the index of a pair, with 20,000 sealed units.
func BenchmarkMemory(b *testing.B) {
	e := newEngine(b)
	units := make([]Unit, 20_000)
	for i := range units {
		units[i] = Unit{fmt.Sprintf("This is the sentence with the number %d in a memory.", i), fmt.Sprintf("这是记忆中编号为 %d 的句子。", i), "en", "zh"}
	}
	if err := e.store.addUnits(b.Context(), "org_a", units); err != nil {
		b.Fatal(err)
	}
	b.Run("exact", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, _, err := e.store.exact(b.Context(), "org_a", "en", "zh", []string{units[77].Source, "something else"}); err != nil || len(found) != 1 {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := newFuzzyCache(e.store).index(b.Context(), "org_a", "en", "zh", 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("add", func(b *testing.B) {
		for b.Loop() {
			if err := e.store.addUnits(b.Context(), "org_a", units[:1]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
