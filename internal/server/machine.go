package server

import (
	"time"

	"github.com/tollgate-io/tollgate/internal/api"
)

// machine looks at what the operating system gives: disk, files.
func (c *checkup) machine() {
	if free, ok := FreeSpace(c.a.Config.Data); ok {
		state := api.Good
		switch {
		case free < 64<<20:
			state = api.Bad
		case free < 1<<30:
			state = api.Warning
		}
		c.graded("disk", state, say("%s are free for the data directory", "数据目录所在磁盘剩余 %s", size(int64(free))),
			say("Free some space: when none is left, calls are refused before a provider is called.", "请清理空间：磁盘写满时，在调用提供方之前就会拒绝请求。"))
	}
	if open, limit, ok := openFiles(); ok {
		state := api.Good
		switch {
		case open*10 >= limit*9:
			state = api.Bad
		case limit < 4096 || open*10 >= limit*7:
			state = api.Warning
		}
		c.graded("open files", state, say("%d of at most %d", "%d 个，上限 %d 个", open, limit),
			say("Raise the limit (LimitNOFILE of the systemd unit, ulimit -n): each stream takes two.", "请提高上限（systemd 单元的 LimitNOFILE，或 ulimit -n）：每个流占用两个。"))
	}
}

func (c *checkup) certificate() {
	cert := c.a.cert.Load()
	if cert == nil {
		return
	}
	until := cert.expires()
	left := time.Until(until)
	state := api.Good
	switch {
	case left < 3*24*time.Hour:
		state = api.Bad
	case left < 21*24*time.Hour:
		state = api.Warning
	}
	c.graded("certificate", state, say("valid until %s, %d days", "有效期至 %s，剩余 %d 天", until.Format(time.RFC3339), int(left.Hours()/24)),
		say("Renew the files of tls.cert and tls.key; they are taken up without a restart.", "请更新 tls.cert 与 tls.key 指定的文件；无需重启即可生效。"))
}
