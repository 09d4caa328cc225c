package translate

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBLEU(t *testing.T) {
	words := func(s string) [][]string { return [][]string{strings.Fields(s)} }
	for _, c := range []struct {
		hyp, ref string
		want     float64
	}{
		{"the cat sat on the mat", "the cat sat on the mat", 100},
		{"", "a b c d", 0},
		// precisions 3/6, 2/5, 1/4, and 1/6 for 0/3; the lengths are equal
		{"the cat sat on a bag", "the cat sat in the mat", 100 * math.Pow(3.0/6*2/5*1/4*1/6, 0.25)},
		{"the cat sat", "the cat sat on the mat", 0}, // shorter than four words
	} {
		got := bleu(words(c.hyp), words(c.ref))
		if math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%q: %v", c.hyp, got)
		}
	}
	if a, b := bleu(words("the cat sat on a mat"), words("the cat sat in the mat")), bleu(words("mat a on sat cat the"), words("the cat sat in the mat")); a <= b || a >= 100 {
		t.Errorf("the better order has %v, the worse %v", a, b)
	}
	if got := strings.Join(bleuTokens("他说：OK, it's 3.5!"), "|"); got != "他|说|：|OK|,|it's|3|.|5|!" {
		t.Error(got)
	}
}

func TestEvaluate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tatoeba-en-zh-x.tsv"), []byte("I know her address.\t我知道她的地址。\nThank you.\t谢谢你。\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reports, err := Evaluate(t.Context(), EvaluateOptions{Engine: newEngine(t), Data: dir, Date: "2026-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	if reports[0].Task != "translation en → zh" || reports[0].Samples != 2 || reports[0].Figures[0].Value < 80 {
		t.Errorf("%+v", reports[0])
	}
	for i := range reports {
		if below := reports[i].Below(); below != nil || reports[i].Date != "2026-01-01" || reports[i].Family != "translate" {
			t.Errorf("%s: %v", reports[i].Task, below)
		}
	}
}
