package openai

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestAppendError(t *testing.T) {
	type object struct {
		Message   string  `json:"message"`
		Type      string  `json:"type"`
		Param     *string `json:"param"`
		Code      string  `json:"code"`
		RequestID string  `json:"request_id"`
	}
	param := "model"
	tests := []struct {
		kind   problem.Kind
		id     string
		status int
		typ    string
		code   string
	}{
		{problem.Invalid, "llm.not_json", 400, "invalid_request_error", "llm.not_json"},
		{problem.Unauthenticated, "auth.key_unknown", 401, "authentication_error", "invalid_api_key"},
		{problem.Funds, "settle.wallet", 402, "payment_required", "settle.wallet"},
		{problem.Forbidden, "plan.not_subscribed", 403, "permission_error", "plan.not_subscribed"},
		{problem.NotFound, "plan.model_unknown", 404, "invalid_request_error", "model_not_found"},
		{problem.NotFound, "gateway.model_unknown", 404, "invalid_request_error", "model_not_found"},
		{problem.NotFound, "gateway.path", 404, "invalid_request_error", "gateway.path"},
		{problem.Gone, "catalog.retired", 410, "invalid_request_error", "catalog.retired"},
		{problem.TooLarge, "gateway.large", 413, "invalid_request_error", "request_too_large"},
		{problem.TooMany, "quota.rate", 429, "rate_limit_error", "rate_limit_exceeded"},
		{problem.Legal, "x.blocked", 451, "permission_error", "x.blocked"},
		{problem.Internal, "internal", 500, "server_error", "internal"},
		{problem.Upstream, "egress.x", 502, "server_error", "egress.x"},
		{problem.Unavailable, "db.busy", 503, "server_error", "db.busy"},
		{problem.Timeout, "egress.slow", 504, "server_error", "egress.slow"},
	}
	for _, tt := range tests {
		e := &problem.Error{Kind: tt.kind, ID: tt.id, Detail: "It \"failed\"\n<\u2028\xff>", Fields: []problem.Field{{Path: param}}}
		got := AppendErrorEvent(nil, e, "en", "evt_1")
		var body struct{ Error object }
		if err := json.Unmarshal(got[len("data: "):], &body); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		want := object{"It \"failed\"\n<\u2028\ufffd>", tt.typ, &param, tt.code, "evt_1"}
		if d := cmp.Diff(want, body.Error); d != "" || e.Kind.Status() != tt.status {
			t.Error(e.Kind.Status(), d)
		}
	}
	got := string(AppendError(nil, problem.As(errTest{}), "zh", ""))
	if want := `{"error":{"message":"内部错误；请将请求编号告知平台运营方","type":"server_error","param":null,"code":"internal"}}`; got != want {
		t.Error(got)
	}
}

type errTest struct{}

func (errTest) Error() string { return "secret cause" }

func TestAppendModels(t *testing.T) {
	if got := string(AppendModels(nil, nil)); got != `{"object":"list","data":[]}` {
		t.Error(got)
	}
	got := string(AppendModels(nil, []Model{{"a/b", 5, "acme", []string{"chat", "vision"}}, {`"`, 0, "", nil}}))
	want := `{"object":"list","data":[{"id":"a/b","object":"model","created":5,"owned_by":"acme","capabilities":["chat","vision"]},{"id":"\"","object":"model","created":0,"owned_by":""}]}`
	if got != want {
		t.Error(got)
	}
}
