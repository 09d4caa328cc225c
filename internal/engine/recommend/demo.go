package recommend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// DemoSpace is the name of the space that [Engine.SeedDemo] makes.
const DemoSpace = "shop"

// demoShop is the demo's shop: category, then its items as price, English title, Chinese title, tags.
const demoShop = `
tea
18.50|Longjing green tea|龙井绿茶|green,spring
24.00|Aged pu'er cake|陈年普洱茶饼|dark,aged
15.90|Jasmine pearl tea|茉莉龙珠|green,flower
21.00|Tieguanyin oolong|铁观音乌龙茶|oolong
39.00|Yixing clay teapot|宜兴紫砂壶|ceramic,brewing
12.50|Bamboo tea tray|竹制茶盘|bamboo,brewing
9.80|Gongfu tea cups, set of four|功夫茶杯四只装|ceramic,brewing
coffee
16.00|Yunnan arabica beans, 500 g|云南阿拉比卡咖啡豆 500克|beans,light
17.50|Ethiopian Yirgacheffe beans|埃塞俄比亚耶加雪菲咖啡豆|beans,light
14.00|Dark roast espresso blend|深烘意式拼配咖啡豆|beans,dark
45.00|Hand coffee grinder|手摇咖啡磨豆机|grinder,steel
32.00|Gooseneck kettle|细口手冲壶|kettle,steel
11.00|Paper filters, 100 pieces|咖啡滤纸 100张|filter
28.00|Glass pour-over dripper|玻璃手冲滤杯|filter,glass
outdoor
129.00|Two-person trekking tent|双人徒步帐篷|camping,light
79.00|Down sleeping bag|羽绒睡袋|camping,warm
54.00|Inflatable sleeping mat|充气防潮垫|camping,light
36.00|Folding gas stove|折叠气炉|camping,cooking
22.00|Titanium mug|钛合金水杯|cooking,light
68.00|Hiking backpack, 45 l|徒步背包 45升|hiking
41.00|Carbon trekking poles|碳纤维登山杖|hiking,light
26.50|Rechargeable headlamp|充电头灯|camping,light
running
95.00|Road running shoes|公路跑鞋|shoes
109.00|Trail running shoes|越野跑鞋|shoes,trail
19.90|Breathable running shirt|透气跑步T恤|clothing
14.50|Running socks, three pairs|跑步袜三双装|clothing
23.00|Running belt with bottle|跑步水壶腰包|hydration
149.00|GPS sports watch|GPS运动手表|watch,electronics
12.00|Energy gels, box of ten|能量胶十支装|nutrition
kitchen
64.00|Cast iron wok|铸铁炒锅|pan,iron
58.00|Chinese chef's knife|中式菜刀|knife,steel
27.00|Bamboo steamer, two tiers|双层竹蒸笼|bamboo,steaming
19.00|Acacia cutting board|相思木砧板|wood
49.00|Rice cooker, 1.5 l|电饭煲 1.5升|electric
34.00|Stone mortar and pestle|石臼与杵|stone,spices
13.50|Sichuan pepper, 200 g|四川花椒 200克|spices
16.50|Chopsticks of ebony, five pairs|乌木筷子五双装|wood
audio
89.00|Wireless earbuds|无线耳机|wireless,portable
159.00|Noise-cancelling headphones|降噪头戴式耳机|wireless,quiet
59.00|Portable speaker|便携音箱|wireless,portable
199.00|Turntable|黑胶唱机|vinyl
24.00|Record cleaning brush|唱片清洁刷|vinyl,care
75.00|Desktop microphone|桌面麦克风|recording
18.00|Braided audio cable, 2 m|编织音频线 2米|cable
books
13.00|Three-Body Problem|三体|novel,science
11.50|Dream of the Red Chamber|红楼梦|novel,classic
15.00|A field guide to tea|茶叶图鉴|guide,green
17.00|Cooking from Sichuan|川菜食谱|guide,spices
12.90|Running for beginners|跑步入门|guide,trail
14.90|Trails of the high country|高原徒步指南|guide,hiking
10.90|Stories of the night train|夜行列车的故事|novel
16.90|The quiet garden|静谧花园|guide,garden
garden
29.00|Bonsai of ficus|榕树盆景|plant,indoor
15.50|Orchid in a pot|盆栽兰花|plant,indoor
9.50|Herb seeds, six kinds|香草种子六种|seeds,spices
21.50|Pruning shears|修枝剪|tool,steel
17.90|Ceramic flower pot|陶瓷花盆|ceramic
12.20|Organic potting soil, 10 l|有机营养土 10升|soil
25.00|Copper watering can|铜质洒水壶|tool
33.00|Grow light|植物生长灯|electric,indoor`

// neighbour is the category that people of a category also like.
var neighbour = map[string]string{"tea": "books", "coffee": "kitchen", "outdoor": "running", "running": "outdoor", "kitchen": "garden",
	"audio": "coffee", "books": "tea", "garden": "kitchen"}

func demoItems(now time.Time) ([]Item, error) {
	var out []Item
	category := ""
	for line := range strings.SplitSeq(strings.TrimSpace(demoShop), "\n") {
		f := strings.Split(line, "|")
		if len(f) == 1 {
			category = line
			continue
		}
		var p Price
		if err := p.UnmarshalJSON([]byte(f[0])); err != nil {
			return nil, err
		}
		at := now.Add(-time.Duration(90-len(out)) * 24 * time.Hour)
		out = append(out, Item{ID: fmt.Sprintf("%s-%d", category, len(out)+1), Title: f[1] + " " + f[2], Category: category,
			Tags: strings.Split(f[3], ","), Price: &p, Currency: "USD", Published: &at})
	}
	return out, nil
}

// Sizes of the demo.
const (
	demoUsers  = 300
	demoEvents = 17 // of a user, about
)

// SeedDemo makes a small shop for the owner, unless there is one: 60 items, 300 users u1 … u300 of eight interests
// and two countries, and about 5,000 events of the last six weeks.
func (e *Engine) SeedDemo(ctx context.Context, owner string) error {
	c, err := parseConfig([]byte(`{"title":"Demo shop","kind":"shop","segment_by":["country"],"diversity":0.1}`))
	if err != nil {
		return err
	}
	now := e.clock.Now()
	items, err := demoItems(now)
	if err != nil {
		return err
	}
	users, events := demoPeople(items, now)
	done := false
	err = e.db.View(ctx, func(tx *db.Tx) error {
		done = false
		r, err := readSpace(tx, owner, DemoSpace, "")
		if isMissing(err) {
			return nil
		}
		done = err == nil && r.seq > 0
		return err
	})
	if err != nil || done {
		return err
	}
	if _, err := e.putSpace(ctx, owner, DemoSpace, c); err != nil {
		return err
	}
	return e.change(ctx, owner, DemoSpace, func(tx *db.Tx, r *spaceRow) error {
		if r.items > 0 { // another node was first
			return nil
		}
		if err := upsertItems(tx, r, items); err != nil {
			return err
		}
		if _, err := upsertUsers(tx, r, users, false); err != nil {
			return err
		}
		_, err := insertEvents(tx, r, events)
		return err
	})
}

// demoPeople makes users who mostly stay with a category, sometimes with its neighbour, rarely elsewhere; within a
// category the first items are the most liked.
func demoPeople(items []Item, now time.Time) (users []User, events []Event) {
	rng := rand.New(rand.NewPCG(1, 3))
	by := map[string][]int{}
	var categories []string
	for i, it := range items {
		if by[it.Category] == nil {
			categories = append(categories, it.Category)
		}
		by[it.Category] = append(by[it.Category], i)
	}
	for u := range demoUsers {
		id := fmt.Sprintf("u%d", u+1)
		country := "CN"
		if u%3 == 0 {
			country = "DE"
		}
		users = append(users, User{id, map[string]string{"country": country}})
		home := categories[u%len(categories)]
		at := now.Add(-time.Duration(rng.IntN(42*24)) * time.Hour)
		for range demoEvents/2 + rng.IntN(demoEvents) {
			list := by[home]
			switch n := rng.IntN(20); {
			case n == 0:
				list = by[categories[rng.IntN(len(categories))]]
			case n < 5:
				list = by[neighbour[home]]
			}
			it := items[list[min(rng.IntN(len(list)), rng.IntN(len(list)))]]
			at = at.Add(time.Duration(rng.IntN(90)) * time.Minute)
			if at.After(now) {
				at = now
			}
			kind := [...]string{"view", "view", "view", "view", "click", "click", "cart", "purchase", "like", "view"}[rng.IntN(10)]
			when := at
			events = append(events, Event{User: id, Item: it.ID, Type: kind, Time: &when})
		}
	}
	return users, events
}
