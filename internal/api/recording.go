package api

import (
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/record"
)

type recordingView struct {
	Enabled bool       `json:"enabled" doc:"Whether prompts and answers of new calls are kept"`
	Days    int64      `json:"days" doc:"How long they are kept"`
	By      string     `json:"changed_by,omitempty" doc:"Id of the user or key that changed it last"`
	Erased  *time.Time `json:"erased_until,omitempty" doc:"What was recorded until then was deleted"`
	Updated *time.Time `json:"updated,omitempty"`
}

func showRecording(sw record.Switch) recordingView {
	v := recordingView{Enabled: sw.Enabled, Days: sw.Days, By: sw.By}
	if !sw.Erased.IsZero() {
		v.Erased = &sw.Erased
	}
	if !sw.Updated.IsZero() {
		v.Updated = &sw.Updated
	}
	return v
}

type contentView struct {
	Event      string    `json:"event"`
	At         time.Time `json:"at"`
	Expires    time.Time `json:"expires"`
	Request    string    `json:"request" doc:"The request's body as it came"`
	RequestCut bool      `json:"request_cut" doc:"The request was longer than what is kept"`
	Answer     string    `json:"answer" doc:"The answer's body as it was sent; of a stream its events; empty for a call that failed"`
	AnswerCut  bool      `json:"answer_cut" doc:"The answer was longer than what is kept"`
}

// InCall is the input of an operation on a call.
type InCall struct {
	InOrg
	Event string `path:"event" maxLength:"60" doc:"Id of the call"`
}

func (s *server) recording() {
	view(s, route("get-recording", "GET /organisations/{org}/recording", "Get whether prompts and answers are recorded"),
		func(tx *db.Tx, c *call, in *InOrg) (*object[recordingView], error) {
			o, err := organisation(tx, c, in.Org, "recording.read")
			if err != nil {
				return nil, err
			}
			sw, err := s.Recording.SwitchTx(tx, o.ID)
			return single(sw.Version, showRecording(sw)), err
		})
	change(s, route("set-recording", "PUT /organisations/{org}/recording", "Switch the recording of prompts and answers",
		about("Off by default. Only an owner or admin of the organisation itself may switch it. It holds on every node within two seconds; switched off, nothing more is kept. A shorter retention holds for what is kept already, too.")),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			IfMatch
			Body struct {
				Enabled bool  `json:"enabled"`
				Days    int64 `json:"days" minimum:"1" maximum:"365" doc:"How long content is kept"`
			} `nameHint:"RecordingInput"`
		}) (*object[recordingView], error) {
			o, err := organisation(tx, c, in.Org, "recording.write")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(true)
			if err != nil {
				return nil, err
			}
			sw, err := s.Recording.SetTx(tx, c.actor, o.ID, in.Body.Enabled, in.Body.Days, rev)
			return single(sw.Version, showRecording(sw)), err
		})
	change(s, route("erase-recording", "DELETE /organisations/{org}/recording/content", "Delete everything recorded until now", tagged("recording"),
		about("Calls that still run are included. Recording goes on if it is switched on.")),
		func(tx *db.Tx, c *call, in *InOrg) (*object[recordingView], error) {
			o, err := organisation(tx, c, in.Org, "prompts.delete")
			if err != nil {
				return nil, err
			}
			sw, err := s.Recording.EraseTx(tx, c.actor, o.ID)
			return single(sw.Version, showRecording(sw)), err
		})
	// Reading writes: the audit record says who read what.
	change(s, route("get-content", "GET /organisations/{org}/usage/events/{event}/content", "Get what was said in a call", tagged("recording"),
		about("Where the consumer records. Every reading is in the audit record.")),
		func(tx *db.Tx, c *call, in *InCall) (*struct{ Body contentView }, error) {
			o, err := organisation(tx, c, in.Org, "prompts.read")
			if err != nil {
				return nil, err
			}
			x, err := s.Recording.OpenTx(tx, c.actor, o.ID, in.Event)
			text := func(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
			return &struct{ Body contentView }{contentView{x.Event, x.At, x.Expires, text(x.Request), x.RequestCut, text(x.Answer), x.AnswerCut}}, err
		})
	change(s, route("delete-content", "DELETE /organisations/{org}/usage/events/{event}/content", "Delete what was said in a call", tagged("recording")),
		func(tx *db.Tx, c *call, in *InCall) (*struct{}, error) {
			o, err := organisation(tx, c, in.Org, "prompts.delete")
			if err != nil {
				return nil, err
			}
			return &struct{}{}, s.Recording.DeleteTx(tx, c.actor, o.ID, in.Event)
		})
}
