package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/record"
)

func TestRecording(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		id := b.call(b.consumer, "GET", "/me", "").want(200).get("organisation.id")
		got := b.call(b.consumer, "GET", "/organisations/demo/recording", "").want(200)
		if got.get("enabled") != "false" || got.Header.Get("ETag") == "" {
			t.Fatal(got.Text)
		}
		on := `{"enabled":true,"days":7}`
		b.call(b.operator, "PUT", "/organisations/demo/recording", on, "If-Match: *").want(403, "auth.forbidden")
		b.call(b.provider, "PUT", "/organisations/demo/recording", on, "If-Match: *").want(404)
		b.call(b.consumer, "PUT", "/organisations/demo/recording", on).want(412)
		b.call(b.consumer, "PUT", "/organisations/demo/recording", `{"enabled":true,"days":400}`, "If-Match: *").want(422)
		b.call(b.consumer, "PUT", "/organisations/demo/recording", on, "If-Match: "+got.Header.Get("ETag")).want(200)
		b.call(b.consumer, "PUT", "/organisations/demo/recording", on, "If-Match: "+got.Header.Get("ETag")).want(412, "record.stale")

		r := record.NewRecorder(b.o.Recording, record.RecorderOptions{})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		event := db.NewID("evt", time.Now())
		r.Record(event, id, []byte(`{"prompt":"private"}`), []byte("fine\xff"))
		r.Stop(context.Background())

		path := "/organisations/demo/usage/events/" + event + "/content"
		c := b.call(b.consumer, "GET", path, "").want(200)
		if c.get("request") != `{"prompt":"private"}` || c.get("answer") != "fine\uFFFD" || c.get("answer_cut") != "false" {
			t.Error(c.Text)
		}
		b.call(b.operator, "GET", path, "").want(200)
		b.call(b.provider, "GET", path, "").want(404)
		b.call(b.provider, "GET", strings.Replace(path, "demo", "acme", 1), "").want(404, "record.not_kept")
		reads := 0
		items, _, err := b.o.Audit.List(t.Context(), audit.Filter{Action: "prompts.read"}, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.Object == event && it.Actor.Key != "" && it.Org == id {
				reads++
			}
		}
		if reads != 2 {
			t.Errorf("%d readings are in the audit record", reads)
		}
		b.call(b.consumer, "DELETE", path, "").want(204)
		b.call(b.consumer, "GET", path, "").want(404, "record.not_kept")
		got = b.call(b.operator, "DELETE", "/organisations/demo/recording/content", "").want(200)
		if got.get("enabled") != "true" || got.get("erased_until") == "" {
			t.Error(got.Text)
		}
	})
}
