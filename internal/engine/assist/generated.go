package assist

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generated knowledge has a known structure: every product has the same topics, each topic's answer a value that only its product
// has, so that a question has one passage that answers it and many that nearly do. Questions use other words than the passages.

type topic struct {
	heading, sentence string
	asks              []string // how people ask, with %s for the product
}

var topicsEN = []topic{
	{"Warranty", "The %s comes with a warranty of %d months. Keep the receipt; damage by water is not covered.", []string{"How many months of warranty does the %s have?", "How long is the warranty for my %s?", "is water damage of the %s under warranty"}},
	{"Battery", "A full charge of the %s lasts for %d hours and takes two hours with the cable in the box.", []string{"How long does the battery of the %s last?", "how many hours can I use the %s on one charge", "charging time of %s battery"}},
	{"Return policy", "You can return the %s within %d days if it is unused. We pay the postage.", []string{"Can I return my %s?", "How many days do I have to return the %s?", "who pays postage when I send back the %s"}},
	{"Delivery", "The %s is shipped from our warehouse in Linz and delivered within %d working days.", []string{"How soon will the %s be delivered?", "delivery time for the %s", "from which warehouse is the %s shipped?"}},
	{"Cleaning", "Wipe the %s with a dry cloth every %d days. Never use alcohol on its surface.", []string{"How do I clean the %s?", "can I use alcohol to clean my %s", "how often should the %s be wiped"}},
	{"Reset", "To reset the %s hold its button for %d seconds until the light blinks red.", []string{"How can I reset the %s?", "my %s hangs, how do I do a factory reset", "how many seconds to hold the button to reset %s"}},
}

var topicsZH = []topic{
	{"保修", "%s的保修期为%d个月。请保留收据，进水损坏不在保修范围内。", []string{"%s保修多久？", "我的%s进水了能保修吗", "%s的保修期是几个月"}},
	{"电池", "%s充满电后可以使用%d小时，用盒中的充电线充电需要两小时。", []string{"%s的电池能用多久", "%s充一次电可以用几小时？", "%s充电要多长时间"}},
	{"退货", "%s未使用的情况下可在%d天内退货，邮费由我们承担。", []string{"%s可以退货吗？", "%s几天内能退货", "退货%s谁付邮费"}},
	{"配送", "%s从林茨仓库发货，%d个工作日内送达。", []string{"%s多久能送到？", "%s从哪个仓库发货", "%s几个工作日送达"}},
	{"清洁", "每隔%[2]d天用干布擦拭%[1]s，表面切勿使用酒精。", []string{"怎么清洁%s？", "%s能用酒精擦吗", "%s多久擦拭一次"}},
	{"重置", "按住%s的按钮%d秒，直到指示灯闪红光，即可重置。", []string{"%s怎么重置？", "重置%s要按几秒", "%s死机了，怎么恢复重置"}},
}

// strangeEN are questions that no passage answers, of products that are there.
var strangeEN = []string{"Who invented the wheel?", "What is the weather in Lisbon tomorrow?", "Tell me a joke about penguins", "How tall is Mount Everest?",
	"Which football team won the cup?", "Recommend a good restaurant nearby", "What is the square root of seventeen?", "When was Mozart born?",
	"Do you sponsor student visas?", "Is your company listed on the stock exchange?", "Which programming languages do your engineers speak?", "Can I bring my dog to your office party?"}

var strangeZH = []string{"明天里斯本天气怎么样", "讲个企鹅的笑话", "珠穆朗玛峰有多高", "推荐附近的餐厅", "莫扎特哪年出生", "谁发明了轮子", "你们公司上市了吗", "世界杯冠军是谁"}

// nearEN ask of a product that is there what no passage says.
var nearEN = []string{"Is the %s waterproof?", "Which colours does the %s have?", "In which country is the %s made?", "Can I connect the %s to my television?"}

var nearZH = []string{"%s防水吗？", "%s有哪些颜色", "%s是哪个国家生产的", "%s能连接电视吗"}

// nearMiss stands for the heading of a question like these.
const nearMiss = "near miss"

// fact is a question and the heading of the passage that answers it; "" for one without an answer.
type fact struct{ question, heading, lang string }

// names of products, made of syllables: none is part of another.
func names(r *rand.Rand, n int, zh bool) []string {
	first, second := strings.Fields("Bal Cor Del Fen Gar Hal Jor Kel Lum Mor Nex Ori Pel Quo Ras Sol Tor Ulm Vex Zan"), strings.Fields("dax fin gor hex jib kon lis mup nor pax")
	if zh {
		first, second = strings.Fields("星河 云海 晨光 远山 银杏 白鹭 青松 红枫 蓝鲸 金麦 秋叶 春雨 飞鱼 长风 明月 玉兰 雪原 沙丘 海燕 松果"), strings.Fields("耳机 音箱 手表 相机 台灯 风扇 键盘 路由器 水壶 手环")
	}
	var out []string
	for _, a := range first {
		for _, b := range second {
			out = append(out, a+b)
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:n]
}

// generateKnowledge makes documents of products and questions about them.
func generateKnowledge(r *rand.Rand, products int) (docs []input, facts []fact) {
	for _, lang := range []string{"en", "zh"} {
		topics, strange, near := topicsEN, strangeEN, nearEN
		if lang == "zh" {
			topics, strange, near = topicsZH, strangeZH, nearZH
		}
		for _, name := range names(r, products, lang == "zh") {
			var b strings.Builder
			b.WriteString("# " + name + "\n\n")
			for _, t := range topics {
				fmt.Fprintf(&b, "## %s\n\n"+t.sentence+"\n\n", t.heading, name, 2+r.IntN(58))
				ask := t.asks[r.IntN(len(t.asks))]
				facts = append(facts, fact{fmt.Sprintf(ask, name), name + " › " + t.heading, lang})
			}
			facts = append(facts, fact{fmt.Sprintf(near[r.IntN(len(near))], name), nearMiss, lang})
			docs = append(docs, input{"text", name, "", name, lang, b.String()})
		}
		for _, q := range strange {
			facts = append(facts, fact{q, "", lang})
		}
	}
	return docs, facts
}

// trouble is what visitors say who need a person, by the queue that they belong to.
var trouble = map[string][]string{
	"Billing": {"I was charged %d euros too much", "My invoice number %d is wrong", "you took the money twice, %d euros", "my refund of %d euros has not come", "the payment of invoice %d failed", "please correct the amount on bill %d",
		"I want to dispute a charge of %d", "why is there a fee of %d on my account statement"},
	"Technical": {"the app crashes with error %d", "I get error code %d when I log in", "the screen stays black since update %d", "my device does not connect to wifi, code %d", "software version %d does not start",
		"bluetooth pairing fails with message %d", "the website shows error %d", "firmware %d broke my device"},
	"Complaints": {"your driver was rude to me on tour %d", "I want to complain about order %d", "nobody answered my %d calls, this is unacceptable", "worst service ever, ticket %d", "the parcel %d arrived broken and dirty",
		"I demand to file a complaint about employee %d", "I waited %d days, I am very angry", "your shop assistant insulted me, visit %d"},
}

// troubleExamples is how many of each queue's sentences are its examples; the others are said by visitors.
const troubleExamples = 4
