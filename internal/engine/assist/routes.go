package assist

import (
	"net/http"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// SecretHeader carries a session's secret on the visitor's routes. A query parameter or a field "secret" does, too, where a
// browser cannot set headers.
const SecretHeader = "Assist-Secret"

type handler func(e *Engine, c *call) error

type operation = engine.Operation[handler]

// Bounds of bodies.
const (
	maxUpload = maxFile + 64<<10
	maxAudio  = 10 << 20
)

// Routes is the contract.
func Routes() []engine.Route { return engine.RoutesOf(operations()) }

var handlers = engine.Handlers(operations())

// operations lists every route. Management and the desk are free; what the bot answers a visitor, a search and a test of intents
// cost a message each, live voice its seconds.
func operations() []operation {
	free := func(name, route string, h handler) operation {
		method, pattern, _ := strings.Cut(route, " ")
		return operation{Route: engine.Route{Name: "assist." + name, Method: method, Pattern: "/v1/assist/" + pattern, Capability: engine.Assist}, Serve: h}
	}
	body := func(o operation, most int64) operation { o.MaxBody = most; return o }
	paid := func(o operation) operation { o.Meter = engine.Messages; return o }
	visitor := func(o operation) operation { o.Public = true; return o }
	voice := visitor(free("voice", "GET bots/{bot}/voice", nil))
	voice.Socket, voice.Meter, voice.Measure = true, engine.AudioSeconds, measureVoice
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []operation{
		free("bots.list", get+" bots", (*Engine).botsList),
		body(free("bots.create", post+" bots", (*Engine).botsCreate), 4<<20),
		free("bots.get", get+" bots/{bot}", (*Engine).botsGet),
		body(free("bots.replace", put+" bots/{bot}", (*Engine).botsReplace), 4<<20),
		free("bots.delete", del+" bots/{bot}", (*Engine).botsDelete),
		paid(free("bots.intents", post+" bots/{bot}/intents", (*Engine).botsIntents)),
		free("bots.analytics", get+" bots/{bot}/analytics", (*Engine).botsAnalytics),

		free("knowledge.list", get+" knowledge", (*Engine).knowledgeList),
		free("knowledge.create", post+" knowledge", (*Engine).knowledgeCreate),
		free("knowledge.get", get+" knowledge/{knowledge}", (*Engine).knowledgeGet),
		free("knowledge.delete", del+" knowledge/{knowledge}", (*Engine).knowledgeDelete),
		free("knowledge.reindex", post+" knowledge/{knowledge}/reindex", (*Engine).knowledgeReindex),
		paid(free("knowledge.search", post+" knowledge/{knowledge}/search", (*Engine).knowledgeSearch)),
		free("documents.list", get+" knowledge/{knowledge}/documents", (*Engine).documentsList),
		body(free("documents.add", post+" knowledge/{knowledge}/documents", (*Engine).documentsAdd), maxUpload),
		free("documents.get", get+" knowledge/{knowledge}/documents/{document}", (*Engine).documentsGet),
		free("documents.delete", del+" knowledge/{knowledge}/documents/{document}", (*Engine).documentsDelete),

		free("queues.list", get+" queues", (*Engine).queuesList),
		free("queues.create", post+" queues", (*Engine).queuesCreate),
		free("queues.replace", put+" queues/{queue}", (*Engine).queuesReplace),
		free("queues.delete", del+" queues/{queue}", (*Engine).queuesDelete),
		free("agents.list", get+" agents", (*Engine).agentsList),
		free("agents.create", post+" agents", (*Engine).agentsCreate),
		free("agents.get", get+" agents/{agent}", (*Engine).agentsGet),
		free("agents.replace", put+" agents/{agent}", (*Engine).agentsReplace),
		free("agents.delete", del+" agents/{agent}", (*Engine).agentsDelete),
		free("agents.status", put+" agents/{agent}/status", (*Engine).agentsStatus),
		free("agents.next", post+" agents/{agent}/next", (*Engine).agentsNext),

		free("desk.sessions", get+" desk/sessions", (*Engine).deskList),
		free("desk.session", get+" desk/sessions/{session}", (*Engine).deskGet),
		free("desk.events", get+" desk/sessions/{session}/events", (*Engine).deskEvents),
		free("desk.accept", post+" desk/sessions/{session}/accept", (*Engine).deskAccept),
		free("desk.assign", post+" desk/sessions/{session}/assign", (*Engine).deskAssign),
		free("desk.reply", post+" desk/sessions/{session}/messages", (*Engine).deskReply),
		free("desk.note", post+" desk/sessions/{session}/notes", (*Engine).deskNote),
		free("desk.transfer", post+" desk/sessions/{session}/transfer", (*Engine).deskTransfer),
		free("desk.close", post+" desk/sessions/{session}/close", (*Engine).deskClose),
		free("desk.erase", del+" desk/sessions/{session}", (*Engine).deskErase),

		visitor(free("sessions.create", post+" bots/{bot}/sessions", (*Engine).sessionsCreate)),
		visitor(free("sessions.get", get+" sessions/{session}", (*Engine).sessionsGet)),
		visitor(paid(free("sessions.message", post+" sessions/{session}/messages", (*Engine).sessionsMessage))),
		visitor(paid(body(free("sessions.voice", post+" sessions/{session}/voice", (*Engine).sessionsVoice), maxAudio))),
		visitor(free("sessions.events", get+" sessions/{session}/events", (*Engine).sessionsEvents)),
		visitor(free("sessions.handover", post+" sessions/{session}/handover", (*Engine).sessionsHandover)),
		visitor(free("sessions.rating", post+" sessions/{session}/rating", (*Engine).sessionsRating)),
		visitor(free("sessions.close", post+" sessions/{session}/close", (*Engine).sessionsClose)),
		visitor(free("sessions.erase", del+" sessions/{session}", (*Engine).sessionsErase)),
		voice,
	}
}
