package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/settle"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// text is a text in English and Chinese, with the same arguments.
type text struct {
	en, zh string
	args   []any
}

func say(en, zh string, args ...any) text { return text{en, zh, args} }

// checkup gathers what the doctor finds.
type checkup struct {
	a    *App
	ctx  context.Context
	zh   bool
	list []api.Finding
}

func (c *checkup) render(t text) string {
	format := t.en
	if c.zh {
		format = t.zh
	}
	return fmt.Sprintf(format, t.args...)
}

func (c *checkup) ok(name string, detail text) {
	c.list = append(c.list, api.Finding{Name: name, State: api.Good, Detail: c.render(detail)})
}

// ill adds a finding that is not good; advice says what to do.
func (c *checkup) ill(name, state string, detail, advice text) {
	c.list = append(c.list, api.Finding{Name: name, State: state, Detail: c.render(detail), Advice: c.render(advice)})
}

// grade is the state of a figure that should be below the limits.
func grade[T int64 | time.Duration](v, warn, fail T) string {
	switch {
	case v >= fail:
		return api.Bad
	case v >= warn:
		return api.Warning
	}
	return api.Good
}

// graded adds a finding whose advice counts only if it is not good.
func (c *checkup) graded(name, state string, detail, advice text) {
	if state == api.Good {
		c.ok(name, detail)
		return
	}
	c.ill(name, state, detail, advice)
}

// doctorTime bounds a whole check-up.
const doctorTime = 20 * time.Second

// Doctor finds out how this process and what it depends on are. lang is "en" or "zh".
func (a *App) Doctor(ctx context.Context, lang string) []api.Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	c := &checkup{a: a, ctx: ctx, zh: lang == "zh"}
	c.process()
	c.jobs()
	if c.database() {
		c.migrations()
		c.suspense()
		c.chains()
		c.sealer()
		c.nodes()
		c.models()
	}
	c.spool()
	c.directories()
	c.upstreams()
	c.redis()
	c.machine()
	c.engines()
	c.certificate()
	return c.list
}

func (c *checkup) process() {
	a := c.a
	_, leads := a.Jobs.Leader()
	role := say("leads", "是主节点")
	if !leads {
		role = say("does not lead", "不是主节点")
	}
	c.ok("process", say("Tollgate %s, up for %s, roles %s; it %s", "Tollgate %s，已运行 %s，角色 %s；它%s",
		Version, time.Since(a.began).Round(time.Second), strings.Join(a.Config.Roles, ", "), c.render(role)))
}

// jobs tells of what is done behind the requests, and fails again and again.
func (c *checkup) jobs() {
	var ill []string
	for _, f := range c.a.Jobs.Failing() {
		if f.Times > 1 { // once may be the database's moment
			why, _, _ := strings.Cut(f.Err.Error(), "\n") // of a panic, not the stack
			ill = append(ill, c.render(say("%s, %d times in a row (%s)", "%s，连续 %d 次（%s）", f.Loop, f.Times, first(why, 300))))
		}
	}
	if len(ill) == 0 {
		c.ok("jobs", say("what is done behind the requests goes well", "后台任务均正常"))
		return
	}
	c.ill("jobs", api.Warning, say("failing: %s", "失败：%s", strings.Join(ill, "; ")),
		say("what the job does is late until it succeeds; the log has each failure with its cause", "在成功之前，该任务的工作会延误；日志中有每次失败及其原因"))
}

// engines tells which engine models are not installed. None has to be.
func (c *checkup) engines() {
	all := c.a.engines.describe()
	var needs []string // in order
	missing, n := map[string][]string{}, 0
	for _, i := range all {
		if i.Ready {
			continue
		}
		if missing[i.Need] == nil {
			needs = append(needs, i.Need)
		}
		missing[i.Need] = append(missing[i.Need], strings.TrimSpace(i.Engine+" "+i.Model))
		n++
	}
	if n == 0 {
		c.ok("engines", say("all %d engine models are ready", "%d 个引擎模型均可用", len(all)))
		return
	}
	const most = 8
	lang, between := "en", "; "
	if c.zh {
		lang, between = "zh", "；"
	}
	text := make([]string, len(needs))
	for j, need := range needs {
		names := missing[need]
		text[j] = c.render(say("%s: %s", "%s：%s", problem.Phrase(lang, need), strings.Join(names[:min(most, len(names))], ", ")))
		if len(names) > most {
			text[j] += ", …"
		}
	}
	c.ok("engines", say("%d of %d engine models are ready; the others need %s", "%d / %d 个引擎模型可用；其余需要：%s", len(all)-n, len(all), strings.Join(text, between)))
}

func (c *checkup) database() bool {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	in, err := c.a.DB.Info(ctx)
	if err != nil {
		c.ill("database", api.Bad, say("%s does not answer: %v", "%s 没有应答：%v", c.a.DB.Engine(), err),
			say("Start the database or repair the way to it. Calls go on while leases and spool last, then they are refused with 503; nothing is lost.",
				"请启动数据库或修复到它的连接。在预留额度与 spool 用尽之前调用照常进行，之后以 503 拒绝；不会丢失任何数据。"))
		return false
	}
	c.graded("database", grade(in.Latency, 100*time.Millisecond, 2*time.Second),
		say("%s %s, %s, answered in %s", "%s %s，%s，%s 内应答", c.a.DB.Engine(), in.Version, size(in.Size), in.Latency.Round(10*time.Microsecond)),
		say("The database is slow: look at its load, its disk and the network between.", "数据库过慢：请检查其负载、磁盘以及两者之间的网络。"))
	if c.a.DB.Engine() == db.PostgreSQL {
		c.graded("clock", grade(in.Ahead.Abs(), time.Second, 5*time.Second),
			say("%s apart from the database's", "与数据库的时钟相差 %s", in.Ahead.Abs().Round(time.Millisecond)),
			say("Synchronise the clocks of this machine and of the database (NTP): expiries, budgets and leases go by them.",
				"请用 NTP 同步本机与数据库的时钟：到期、预算与预留额度都依赖时钟。"))
	}
	return true
}

// query runs a read-only check; a failure is a finding of its own.
func (c *checkup) query(name string, fn func(tx *db.Tx) error) bool {
	if err := c.a.DB.View(c.ctx, fn); err != nil {
		c.unread(name, err)
		return false
	}
	return true
}

func (c *checkup) unread(name string, err error) {
	c.ill(name, api.Bad, say("cannot be read: %v", "无法读取：%v", err), say("See the server's log.", "请查看服务器日志。"))
}

func (c *checkup) migrations() {
	have, pending, err := c.a.DB.Compare(c.ctx, migrations()...)
	switch {
	case err != nil:
		c.ill("migrations", api.Bad, say("the tables are not this version's: %v", "数据表与本版本不符：%v", err),
			say("Run the version that wrote them, or a later one, on every node.", "请在所有节点上运行写入它们的版本或更新的版本。"))
	case pending > 0:
		c.ill("migrations", api.Warning, say("missing: %d", "缺少：%d 个", pending), say("Restart this node.", "请重启本节点。"))
	default:
		c.ok("migrations", say("all %d are applied", "全部 %d 个均已应用", have))
	}
}

func (c *checkup) suspense() {
	var n int
	if !c.query("suspense", func(tx *db.Tx) (err error) { n, err = settle.SuspendedTx(tx); return err }) {
		return
	}
	if n == 0 {
		c.ok("suspense", say("every call was settled", "所有调用均已结算"))
		return
	}
	c.ill("suspense", api.Warning, say("calls that could not be settled: %d", "无法结算的调用：%d 个", n),
		say("GET /api/v1/ledger/suspense tells which and why: a wallet without money after its node's leases were reclaimed, or a plan version that cannot be read. tollgate ledger verify fails until they are resolved.",
			"GET /api/v1/ledger/suspense 列出哪些调用及原因：例如收回节点的预留额度后钱包已空，或某个套餐版本无法读取。处理之前 tollgate ledger verify 不会通过。"))
}

// chains looks at the ledger's and the audit record's hash chains: the leader and each node close them
// within seconds.
func (c *checkup) chains() {
	var w ledger.Waiting
	var entries, sealed int64
	var since time.Time
	if !c.query("ledger", func(tx *db.Tx) (err error) {
		if w, err = ledger.Unsealed(tx); err == nil {
			entries, since, sealed, err = audit.Unsealed(tx)
		}
		return err
	}) {
		return
	}
	late := say("Nothing seals: is there a node with the role worker, and does it lead? See its log.", "没有节点在封存：是否有角色为 worker 的节点，且它是主节点？请查看其日志。")
	age := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return time.Since(t).Round(time.Second)
	}
	c.graded("ledger", grade(age(w.Oldest), 30*time.Second, 10*time.Minute),
		say("%d transactions are in the chain, %d wait, the oldest for %s", "%d 笔交易已入链，%d 笔等待，最久已等待 %s", w.Sealed, w.Count, age(w.Oldest)), late)
	c.graded("audit", grade(age(since), 30*time.Second, 10*time.Minute),
		say("%d entries are in the chain, %d wait, the oldest for %s", "%d 条记录已入链，%d 条等待，最久已等待 %s", sealed, entries, age(since)), late)
}

func (c *checkup) sealer() {
	st, err := c.a.Vault.Status(c.ctx)
	if err != nil {
		c.unread("sealer key", err)
		return
	}
	var ids []string
	for _, k := range st.Keys {
		if k.State != api.KeyLost {
			ids = append(ids, k.ID)
		}
	}
	switch {
	case st.Lost > 0:
		c.ill("sealer key", api.Bad, say("values sealed with keys that are not in the file: %d (%s)", "由文件中没有的密钥封存的值：%d 个（%s）", st.Lost, st.File),
			say("Put the copy of the key file back; without one, enter the upstreams' credentials again. tollgate sealer status tells which keys are missing.",
				"请放回密钥文件的备份；若没有备份，请重新录入上游凭据。tollgate sealer status 会列出缺失的密钥。"))
	case st.Old > 0:
		c.ill("sealer key", api.Warning, say("values still sealed with an old key: %d; %s has %s", "仍由旧密钥封存的值：%d 个；%s 中有 %s", st.Old, st.File, strings.Join(ids, ", ")),
			say("Run tollgate sealer reseal, then tollgate sealer drop.", "请运行 tollgate sealer reseal，然后 tollgate sealer drop。"))
	default:
		c.ok("sealer key", say("%s has %s; keep a copy apart from the database's", "%s 中有 %s；请在数据库备份之外另存一份", st.File, strings.Join(ids, ", ")))
	}
}

func (c *checkup) nodes() {
	var nodes []settle.Node
	if !c.query("nodes", func(tx *db.Tx) (err error) { nodes, err = settle.Nodes(tx); return err }) {
		return
	}
	running := 0
	for _, n := range nodes {
		if n.State == settle.NodeRunning {
			running++
		}
		if n.State != settle.NodeSilent || len(n.Leases) == 0 {
			continue
		}
		c.ill("nodes", api.Warning, say("the node %s (spool %s) has not been heard of since %s; credit is still reserved for it", "节点 %s（spool %s）自 %s 起没有消息；仍为它预留着额度",
			n.Host, n.Spool, n.Seen.Format(time.RFC3339)),
			say("Start it again with its data directory. If that is lost: tollgate node reclaim %[2]s.", "请用其数据目录重新启动它。若数据目录已丢失：tollgate node reclaim %[2]s。", n.Host, n.Spool))
	}
	c.ok("nodes", say("running: %d", "正在运行：%d 个", running))
}

func (c *checkup) models() {
	missing, err := c.a.Catalog.MissingModels(c.ctx)
	if err != nil {
		c.unread("models", err)
		return
	}
	for _, m := range missing {
		c.ill("models", api.Warning, say("%s is answered by %s of the upstream %s, which no longer lists it since %s", "%s 由上游 %[3]s 的 %[2]s 应答，而该上游自 %[4]s 起不再列出它",
			m.Product, m.Model, m.Upstream, m.Since.Format(time.RFC3339)),
			say("Change the product's target, or suspend it until the model is back.", "请更换该产品的目标，或暂停它直到模型恢复。"))
	}
	if len(missing) == 0 {
		c.ok("models", say("every model on sale is listed by its upstream, as far as those list", "所有在售模型均被其上游列出（就上游提供列表而言）"))
	}
}

func (c *checkup) spool() {
	a := c.a
	st := a.Spool.Stats()
	if err := a.Spool.Err(); err != nil {
		c.ill("spool", api.Bad, say("writing failed, new calls are refused: %v", "写入失败，正在拒绝新的调用：%v", err),
			say("Repair the disk of the data directory, then restart; what was acknowledged is on it.", "请修复数据目录所在磁盘后重启；已确认的数据都在其中。"))
	} else {
		c.ok("spool", say("%s on disk, calls under way: %d", "占用磁盘 %s，进行中的调用：%d 个", size(st.Bytes), st.Open))
	}
	stalled := a.vitals.stalled(st)
	c.graded("settlement", grade(stalled, 10*time.Second, time.Minute),
		say("%s wait to be settled; the last progress was %s ago", "%s 等待结算；距上次进展 %s", size(st.Unsettled), stalled.Round(time.Second)),
		say("Settlement stands still: is the database away, or its disk full? See the log for \"settlement is retried\". Calls go on while leases and spool last.",
			"结算停滞：数据库是否不可用，或磁盘已满？请在日志中查找 \"settlement is retried\"。在预留额度与 spool 用尽之前调用照常进行。"))
}

// directories looks whether the copies in memory follow the database.
func (c *checkup) directories() {
	now := time.Now()
	fresh := func(name string, at time.Time, err error) {
		state := grade(now.Sub(at), 3*time.Second, 10*time.Second)
		if err != nil && state == api.Good {
			state = api.Warning
		}
		c.graded(name, state, say("known up to %s ago", "已知截至 %s 之前的状态", now.Sub(at).Round(time.Millisecond)),
			say("Changes made elsewhere, revocations included, do not arrive here: see the log.", "在别处所做的更改（包括吊销）无法到达本节点：请查看日志。"))
	}
	fresh("keys", c.a.Dir.Fresh(), nil)
	at, err := c.a.Book.Health()
	fresh("catalogue", at, err)
}

func (c *checkup) upstreams() {
	a := c.a
	snap := a.Book.Snapshot().Catalog
	upstream, credential := map[string]string{}, map[string]string{}
	targets := 0
	for _, u := range snap.Upstreams() {
		for _, cr := range u.Credentials {
			credential[cr.ID] = u.Name + "/" + cr.Name
		}
	}
	for _, p := range snap.Products() {
		for _, v := range p.Live {
			for _, t := range v.Targets {
				upstream[t.ID] = p.Name + " → " + t.Upstream.Name + "/" + t.UpstreamModel
			}
		}
	}
	for _, f := range snap.Faults {
		c.ill("credentials", api.Bad, say("the credential %s cannot be opened", "凭据 %s 无法打开", f.Object),
			say("Put the sealer's key file back, or enter the credential again.", "请放回封存密钥文件，或重新录入该凭据。"))
	}
	sick := 0
	for _, s := range a.Gateway.States() {
		targets++
		if s.Circuit == "closed" {
			continue
		}
		sick++
		c.ill("targets", api.Warning, say("%s gets no calls: its circuit is %s", "%s 不接收调用：其断路器状态为 %s", orID(upstream, s.Target), s.Circuit),
			say("Its upstream failed several times in a row; it is tried again by itself. If it stays so, look at the upstream.", "其上游连续多次失败；会自动重试。若持续如此，请检查该上游。"))
	}
	for _, cr := range a.Gateway.Cooling() {
		sick++
		c.ill("credentials", api.Warning, say("%s rests until %s: its upstream refused or throttled it", "%s 暂停使用至 %s：其上游拒绝或限流了它", orID(credential, cr.Credential), cr.Until.Format(time.RFC3339)),
			say("Check the credential and its quota with the upstream; more credentials share the load.", "请在上游处检查该凭据及其配额；多个凭据可分担负载。"))
	}
	if sick+len(snap.Faults) == 0 {
		c.ok("targets", say("all %d are in service", "全部 %d 个均在服务", targets))
	}
}

func orID(names map[string]string, id string) string {
	if n := names[id]; n != "" {
		return n
	}
	return id
}

func (c *checkup) redis() {
	if c.a.KV == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
	defer cancel()
	start := time.Now()
	if err := c.a.KV.Ping(ctx); err != nil {
		c.ill("redis", api.Warning, say("does not answer: %v", "没有应答：%v", err),
			say("Rate limits hold for each node alone until it is back; nothing else depends on it.", "恢复之前速率限制仅在各节点内生效；其他功能不依赖它。"))
		return
	}
	c.ok("redis", say("answered in %s", "%s 内应答", time.Since(start).Round(10*time.Microsecond)))
}

// size shows bytes.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i, v := 0, float64(n)
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// vitals are figures that are read when somebody asks, and watched now and then in between.
type vitals struct {
	mu    sync.Mutex
	at    spool.Position // guarded by mu: the settler's cursor at the last look
	moved time.Time      // guarded by mu: when it had moved, or nothing was unsettled

	gauges sync.Mutex // one scrape at a time sets the gauges
}

// stalled is for how long the settler has made no progress though there was something to settle.
func (v *vitals) stalled(st spool.Stats) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if st.Unsettled == 0 || st.Settled != v.at || v.moved.IsZero() {
		v.at, v.moved = st.Settled, now
	}
	return now.Sub(v.moved)
}

// gauges sets the metrics that are not worth being kept up to date.
func (a *App) gauges() {
	a.vitals.gauges.Lock()
	defer a.vitals.gauges.Unlock()
	m, st := a.Metrics, a.Spool.Stats()
	m.SpoolBytes.Set(st.Bytes)
	m.SpoolOpen.Set(int64(st.Open))
	m.InFlight.Set(int64(st.Open))
	m.SpoolSyncs.Add(st.Syncs - m.SpoolSyncs.Value())
	m.SpoolLag.Set(st.Unsettled)
	lag := a.vitals.stalled(st)
	if st.Unsettled == 0 {
		m.SettleLag.Set(0)
	} else if us := lag.Microseconds(); us > m.SettleLag.Value() {
		m.SettleLag.Set(us)
	}
	t := a.Bank.Totals()
	m.HoldsOpen.Set(t.Open)
	for _, currency := range slices.Sorted(maps.Keys(t.Wallet)) {
		m.LeaseRemaining(currency).Set(t.Wallet[currency])
	}
}
