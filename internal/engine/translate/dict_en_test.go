package translate

import "testing"

// A plural has the meaning of its word, unless it has one of its own.
func TestPlurals(t *testing.T) {
	t.Parallel()
	d := &dictionary{}
	x, err := d.lex.get()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"within 30 days":       "在三十天",
		"in 10 minutes":        "在十分钟",
		"It costs 5 dollars.":  "它费用五美元。",
		"seconds":              "秒",
		"ten years ago":        "十年之前",
		"three months":         "三个月",
		"orders":               "订单",
		"customers":            "客户",
		"glasses":              "眼镜",
		"goods":                "货物",
		"customs":              "海关",
		"news":                 "新闻",
		"physics":              "物理学",
		"He has two sons.":     "他有两个儿子。",
		"Wait twenty seconds.": "等二十秒。",
	} {
		if got, _ := d.toChinese(x, in, hints{}); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
