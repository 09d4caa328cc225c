package problem

import (
	"cmp"
	"net/http"
)

// titles are the words of the statuses that errors have, in Chinese.
var titles = map[int]string{
	400: "请求格式错误", 401: "未认证", 402: "余额不足", 403: "无权限", 404: "未找到", 405: "不允许的方法", 409: "冲突", 410: "已停用", 412: "前提条件不成立",
	413: "请求过大", 415: "不支持的媒体类型", 422: "请求内容无效", 428: "需要前提条件", 429: "请求过多", 451: "因合规被阻止", 499: "客户端已断开",
	500: "内部错误", 502: "上游错误", 503: "暂不可用", 504: "超时",
}

// Title is a status in words, in the language: the title of RFC 9457.
func Title(status int, lang string) string {
	if t, ok := titles[status]; ok && lang == "zh" {
		return t
	}
	if status == 499 { // not of the standard, so not of net/http
		return "Client Closed Request"
	}
	return cmp.Or(http.StatusText(status), "Error")
}
