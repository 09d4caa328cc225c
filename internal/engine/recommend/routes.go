package recommend

import (
	"context"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed openapi.json
var contract []byte

// Contract is the OpenAPI 3.1 document of [Routes].
func Contract() []byte { return contract }

const base = "/v1/recommend/spaces"

// handler serves one route.
type handler func(*Engine, context.Context, *engine.Request, engine.Writer) error

type operation = engine.Operation[handler]

// operations are the routes with what serves them. Managing is free; what reads or feeds the model is one request each.
func operations() []operation {
	route := func(name, method, path, meter string, public bool, body int64, h handler) operation {
		return operation{Route: engine.Route{Name: "recommend." + name, Method: method, Pattern: base + path, Capability: engine.Recommend,
			Meter: meter, Public: public, MaxBody: body}, Serve: h}
	}
	list := func(name, path string, h handler) operation {
		o := route(name, http.MethodPost, "/{space}"+path, engine.Requests, true, 0, h)
		o.Result = "items"
		return o
	}
	const space, paid = "/{space}", engine.Requests
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	return []operation{
		route("spaces.list", get, "", "", false, 0, (*Engine).listSpaces),
		route("spaces.get", get, space, "", false, 0, (*Engine).getSpace),
		route("spaces.put", put, space, "", false, 0, (*Engine).servePutSpace),
		route("spaces.delete", del, space, "", false, 0, (*Engine).serveDeleteSpace),
		route("items.put", post, space+"/items", paid, false, 16<<20, (*Engine).putItems),
		route("items.list", get, space+"/items", "", false, 0, (*Engine).listItems),
		route("items.get", get, space+"/items/{item}", "", false, 0, (*Engine).getItem),
		route("items.delete", post, space+"/items/delete", paid, false, 0, (*Engine).serveDeleteItems),
		route("users.put", post, space+"/users", paid, false, 4<<20, (*Engine).putUsers),
		route("users.get", get, space+"/users/{user}", "", false, 0, (*Engine).getUser),
		route("users.export", get, space+"/users/{user}/export", "", false, 0, (*Engine).exportUser),
		route("users.delete", del, space+"/users/{user}", "", false, 0, (*Engine).serveDeleteUser),
		route("events.put", post, space+"/events", paid, true, 4<<20, (*Engine).putEvents),
		list("for_you", "/for-you", question(forYou)),
		list("similar", "/similar", question(similar)),
		list("trending", "/trending", question(trending)),
		list("popular", "/popular", question(popular)),
		route("experiments.list", get, space+"/experiments", "", false, 0, (*Engine).listExperiments),
		route("experiments.put", put, space+"/experiments/{experiment}", "", false, 0, (*Engine).servePutExperiment),
		route("experiments.get", get, space+"/experiments/{experiment}", "", false, 0, (*Engine).getExperiment),
		route("experiments.delete", del, space+"/experiments/{experiment}", "", false, 0, (*Engine).serveDeleteExperiment),
		route("evaluate", post, space+"/evaluate", paid, false, 0, (*Engine).serveEvaluate),
	}
}

// Routes are the operations of the contract.
func Routes() []engine.Route { return engine.RoutesOf(operations()) }

var handlers = engine.Handlers(operations())

// Serve answers a call; see [engine.Engine].
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if r.Route == nil || handlers[r.Route.Name] == nil {
		return problem.New(problem.NotFound, "recommend.no_route", "there is no such operation of the recommendation engine")
	}
	if r.Params["space"] != "" && !nameOK(r.Params["space"]) {
		return engine.Invalid("space", "a name has 1 to 64 letters, digits, - and _")
	}
	return handlers[r.Route.Name](e, ctx, r, w)
}

func (e *Engine) listSpaces(ctx context.Context, r *engine.Request, w engine.Writer) error {
	type entry struct {
		Name    string    `json:"name"`
		Created time.Time `json:"created_at"`
		Updated time.Time `json:"updated_at"`
	}
	list := []entry{}
	err := e.db.View(ctx, func(tx *db.Tx) error {
		list = list[:0]
		rows, err := tx.Query(`SELECT name, created, updated FROM recommend_space WHERE owner = $1 ORDER BY name`, r.Owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var created, updated int64
			if err := rows.Scan(&name, &created, &updated); err != nil {
				return err
			}
			list = append(list, entry{name, db.Time(created), db.Time(updated)})
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, map[string]any{"spaces": list})
}

// status is a space with what is in it.
type status struct {
	Name    string    `json:"name"`
	Config  *Config   `json:"config"`
	Items   int64     `json:"items"`
	Users   int64     `json:"users"`
	Events  int64     `json:"events"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
	Engine  string    `json:"engine"`
	Model   *training `json:"model_state,omitempty"` // if it is loaded
}

type training struct {
	Events  int   `json:"events"`  // in the model
	Trained int   `json:"trained"` // of these, seen by the last training
	Bytes   int64 `json:"bytes"`   // estimated
	// Failed says that the last training did not succeed: what was learnt before serves on, and it is tried again in minutes.
	Failed bool `json:"training_failed,omitempty"`
}

func (e *Engine) getSpace(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var st status
	err := e.db.View(ctx, func(tx *db.Tx) error {
		row, err := readSpace(tx, r.Owner, r.Params["space"], "")
		if err != nil {
			return err
		}
		c, err := storedConfig(row.config)
		if err != nil {
			return err
		}
		st = status{Name: row.name, Config: c, Created: db.Time(row.created), Updated: db.Time(row.updated), Engine: Name}
		for _, x := range []struct {
			n    *int64
			text string
		}{
			{&st.Items, `SELECT COUNT(*) FROM recommend_item WHERE space = $1 AND listed = 1`},
			{&st.Users, `SELECT COUNT(*) FROM recommend_user WHERE space = $1`},
			{&st.Events, `SELECT COUNT(*) FROM recommend_event WHERE space = $1`},
		} {
			if err := tx.QueryRow(x.text, row.id).Scan(x.n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s := e.loaded(ctx, r.Owner, st.Name); s != nil {
		s.mu.RLock()
		st.Model = &training{s.m.events, s.m.fitted, s.m.size(), s.failed.Load()}
		s.mu.RUnlock()
	}
	return engine.WriteJSON(w, http.StatusOK, st)
}

func (e *Engine) servePutSpace(ctx context.Context, r *engine.Request, w engine.Writer) error {
	c, err := parseConfig(r.Body)
	if err != nil {
		return err
	}
	made, err := e.putSpace(ctx, r.Owner, r.Params["space"], c)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, createdOr(made), map[string]any{"name": r.Params["space"], "config": c})
}

func createdOr(made bool) int {
	if made {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (e *Engine) serveDeleteSpace(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if err := e.deleteSpace(ctx, r.Owner, r.Params["space"]); err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, deleted(1))
}

func deleted(n int64) any { return map[string]int64{"deleted": n} }

func (e *Engine) putItems(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var in struct {
		Items []Item `json:"items"`
	}
	if err := decode(r.Body, &in); err != nil {
		return err
	}
	if err := e.Upsert(ctx, r.Owner, r.Params["space"], in.Items...); err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, map[string]int{"accepted": len(in.Items)})
}

func (e *Engine) listItems(ctx context.Context, r *engine.Request, w engine.Writer) error {
	limit := 100
	if v := r.Query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 1000 {
			return engine.Invalid("limit", "must be from 1 to 1000")
		}
		limit = n
	}
	var ids []string
	err := e.db.View(ctx, func(tx *db.Tx) error {
		ids = []string{}
		row, err := readSpace(tx, r.Owner, r.Params["space"], "")
		if err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT id FROM recommend_item WHERE space = $1 AND id > $2 AND listed = 1 ORDER BY id LIMIT $3`,
			row.id, r.Query.Get("after"), limit+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	more := len(ids) > limit
	return engine.WriteJSON(w, http.StatusOK, map[string]any{"items": ids[:min(len(ids), limit)], "has_more": more})
}

func (e *Engine) getItem(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var it *Item
	err := e.db.View(ctx, func(tx *db.Tx) error {
		row, err := readSpace(tx, r.Owner, r.Params["space"], "")
		if err != nil {
			return err
		}
		it, err = readItem(tx, row.id, r.Params["item"])
		return err
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, it)
}

func (e *Engine) serveDeleteItems(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var in struct {
		Items []string `json:"items"`
	}
	if err := decode(r.Body, &in); err != nil {
		return err
	}
	n, err := e.Remove(ctx, r.Owner, r.Params["space"], in.Items...)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, deleted(n))
}

func (e *Engine) putUsers(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var in struct {
		Users []User `json:"users"`
	}
	if err := decode(r.Body, &in); err != nil {
		return err
	}
	if err := checkUsers(in.Users); err != nil {
		return err
	}
	err := e.change(ctx, r.Owner, r.Params["space"], func(tx *db.Tx, row *spaceRow) error {
		_, err := upsertUsers(tx, row, in.Users, false)
		return err
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, map[string]int{"accepted": len(in.Users)})
}

func (e *Engine) getUser(ctx context.Context, r *engine.Request, w engine.Writer) error {
	p, err := e.profile(ctx, r.Owner, r.Params["space"], r.Params["user"])
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, p)
}

func (e *Engine) exportUser(ctx context.Context, r *engine.Request, w engine.Writer) error {
	after := int64(0)
	if v := r.Query.Get("after"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return engine.Invalid("after", "must be what the page before gave")
		}
		after = n
	}
	x, err := e.export(ctx, r.Owner, r.Params["space"], r.Params["user"], after)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, x)
}

func (e *Engine) serveDeleteUser(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if err := e.Forget(ctx, r.Owner, r.Params["space"], r.Params["user"]); err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, deleted(1))
}

func (e *Engine) putEvents(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var in struct {
		Events []Event `json:"events"`
	}
	if err := decode(r.Body, &in); err != nil {
		return err
	}
	got, err := e.Record(ctx, r.Owner, r.Params["space"], in.Events...)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, got)
}

func question(surface string) handler {
	return func(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
		var q Query
		if err := decode(r.Body, &q); err != nil {
			return err
		}
		a, err := e.ask(ctx, r.Owner, r.Params["space"], surface, r.Model, r.Language, &q)
		if err != nil {
			return err
		}
		w.SetHeader("Cache-Control", "no-store")
		return engine.WriteJSON(w, http.StatusOK, a)
	}
}

func (e *Engine) listExperiments(ctx context.Context, r *engine.Request, w engine.Writer) error {
	var list []experiment
	err := e.db.View(ctx, func(tx *db.Tx) error {
		row, err := readSpace(tx, r.Owner, r.Params["space"], "")
		if err != nil {
			return err
		}
		list, err = readExperiments(tx, row.id, false)
		return err
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, map[string]any{"experiments": list})
}

func (e *Engine) servePutExperiment(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if !nameOK(r.Params["experiment"]) {
		return engine.Invalid("experiment", "a name has 1 to 64 letters, digits, - and _")
	}
	x, err := parseExperiment(r.Params["experiment"], r.Body)
	if err != nil {
		return err
	}
	made := false
	err = e.change(ctx, r.Owner, r.Params["space"], func(tx *db.Tx, row *spaceRow) (err error) {
		made, err = putExperiment(tx, row, x)
		return err
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, createdOr(made), x)
}

func (e *Engine) getExperiment(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if err := e.flush(ctx); err != nil {
		return err
	}
	var out struct {
		*experiment
		Results []ArmResult `json:"results"`
	}
	err := e.db.View(ctx, func(tx *db.Tx) error {
		row, err := readSpace(tx, r.Owner, r.Params["space"], "")
		if err != nil {
			return err
		}
		list, err := readExperiments(tx, row.id, false)
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].Name == r.Params["experiment"] {
				out.experiment = &list[i]
				out.Results, err = results(tx, row.id, &list[i])
				return err
			}
		}
		return noExperiment(r.Params["experiment"])
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, out)
}

func (e *Engine) serveDeleteExperiment(ctx context.Context, r *engine.Request, w engine.Writer) error {
	err := e.change(ctx, r.Owner, r.Params["space"], func(tx *db.Tx, row *spaceRow) error {
		return deleteExperiment(tx, row, r.Params["experiment"])
	})
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, http.StatusOK, deleted(1))
}
