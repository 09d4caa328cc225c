package recommend

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Strategy is how for-you ranks: the request's own wishes come first, then the arm's, then the space's.
type Strategy struct {
	Algorithm string   `json:"algorithm,omitempty"` // hybrid, or the name of one ranker
	Weights   Weights  `json:"weights,omitempty"`
	Diversity *float64 `json:"diversity,omitempty"`
}

// Arm is one side of an experiment.
type Arm struct {
	Name     string   `json:"name"`
	Share    int      `json:"share"` // of the users, in percent
	Strategy Strategy `json:"strategy"`
}

// experiment splits the users of for-you over arms.
type experiment struct {
	Name    string `json:"name"`
	Arms    []Arm  `json:"arms"` // the first is what the others are compared with
	Running bool   `json:"running"`
}

const maxArms = 5

func parseExperiment(name string, body []byte) (*experiment, error) {
	x := experiment{Running: true}
	if err := decode(body, &x); err != nil {
		return nil, err
	}
	x.Name = name
	if len(x.Arms) < 2 || len(x.Arms) > maxArms {
		return nil, engine.Invalid("arms", "from 2 to 5 are needed")
	}
	sum, seen := 0, map[string]bool{}
	for i, a := range x.Arms {
		at := fmt.Sprintf("arms[%d]", i)
		if !nameOK(a.Name) || seen[a.Name] {
			return nil, engine.Invalid(at+".name", "must be unique, of 1 to 64 letters, digits, - and _")
		}
		seen[a.Name] = true
		if a.Share < 1 || a.Share > 99 {
			return nil, engine.Invalid(at+".share", "must be from 1 to 99 percent")
		}
		sum += a.Share
		if _, _, err := a.Strategy.resolve(forYouWeights); err != nil {
			return nil, err
		}
	}
	if sum != 100 {
		return nil, engine.Invalid("arms", "the shares must add up to 100")
	}
	return &x, nil
}

// nameOK says that s can be the name of a space, experiment or arm.
func nameOK(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

// resolve gives the weights that a strategy stands for: otherwise, where it names none. set tells that it names any.
func (s *Strategy) resolve(otherwise weights) (w weights, set bool, err error) {
	if s.Diversity != nil && !number(*s.Diversity, 0, 1) {
		return w, false, engine.Invalid("diversity", "must be from 0 to 1")
	}
	given, err := s.Weights.parse("weights")
	if err != nil {
		return w, false, err
	}
	one, err := algorithm(s.Algorithm)
	switch {
	case err != nil:
		return w, false, err
	case one != nil:
		return *one, true, nil
	case given != nil:
		return *given, true, nil
	}
	return otherwise, false, nil
}

// algorithm gives the weights of one ranker alone; nil for the blend.
func algorithm(name string) (*weights, error) {
	if name == "" || name == Hybrid {
		return nil, nil
	}
	for r, n := range rankerNames {
		if n == name {
			var w weights
			w[r] = 1
			return &w, nil
		}
	}
	return nil, engine.Invalid("algorithm", "must be hybrid, item_cf, user_cf, factors, content, popular, trending or segment")
}

// arm is the side that a user is on: always the same, and independent of other experiments.
func (x *experiment) arm(space int64, user string) *Arm {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%s", space, x.Name, user))
	at := int(binary.BigEndian.Uint64(sum[:8]) % 10_000)
	for i := range x.Arms {
		if at -= x.Arms[i].Share * 100; at < 0 {
			return &x.Arms[i]
		}
	}
	return &x.Arms[len(x.Arms)-1]
}

func readExperiments(tx *db.Tx, space int64, running bool) ([]experiment, error) {
	rows, err := tx.Query(`SELECT name, config, running FROM recommend_experiment WHERE space = $1 ORDER BY created, name`, space)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []experiment{}
	for rows.Next() {
		var x experiment
		var config string
		var on int64
		if err := rows.Scan(&x.Name, &config, &on); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(config), &x.Arms); err != nil {
			return nil, fmt.Errorf("recommend: stored experiment: %w", err)
		}
		if x.Running = on == 1; x.Running || !running {
			out = append(out, x)
		}
	}
	return out, rows.Err()
}

// putExperiment makes an experiment, or starts or stops it. What has been shown stands for its arms: they
// cannot be changed.
func putExperiment(tx *db.Tx, r *spaceRow, x *experiment) (made bool, err error) {
	all, err := readExperiments(tx, r.id, false)
	if err != nil {
		return false, err
	}
	var old *experiment
	for i := range all {
		switch {
		case all[i].Name == x.Name:
			old = &all[i]
		case all[i].Running && x.Running:
			return false, problem.New(problem.Conflict, "recommend.experiment_runs", "the experiment %q is running in this space; stop it first", all[i].Name)
		}
	}
	r.seq++
	if old == nil {
		if len(all) >= maxExperiments {
			return false, problem.New(problem.Conflict, "recommend.too_many", "there can be at most %d %s; delete one first", maxExperiments, "experiments")
		}
		_, err = tx.Exec(`INSERT INTO recommend_experiment (space, name, owner, config, running, created) VALUES ($1, $2, $3, $4, $5, $6)`,
			r.id, x.Name, r.owner, text(x.Arms), db.Bool(x.Running), db.Micros(tx.Now()))
		return true, err
	}
	if text(old.Arms) != text(x.Arms) {
		return false, problem.New(problem.Conflict, "recommend.experiment_fixed",
			"the arms of the experiment %q cannot be changed; make another one, or delete it with its results", x.Name)
	}
	_, err = tx.Exec(`UPDATE recommend_experiment SET running = $1 WHERE space = $2 AND name = $3`, db.Bool(x.Running), r.id, x.Name)
	return false, err
}

func deleteExperiment(tx *db.Tx, r *spaceRow, name string) error {
	if _, err := tx.Exec(`DELETE FROM recommend_exposure WHERE space = $1 AND experiment = $2`, r.id, name); err != nil {
		return err
	}
	n, err := tx.Exec(`DELETE FROM recommend_experiment WHERE space = $1 AND name = $2`, r.id, name)
	if err == nil && n == 0 {
		return noExperiment(name)
	}
	r.seq++
	return err
}

func noExperiment(name string) error {
	return problem.New(problem.NotFound, "recommend.no_experiment", "there is no experiment %q in this space", name)
}

// exposure is a recommendation that was shown under an experiment.
type exposure struct {
	key                            spaceKey
	request, experiment, arm, user string
	at                             int64
}

// exposures wait to be written together.
type exposures struct {
	mu      sync.Mutex
	list    []exposure
	lost    int
	writing sync.Mutex
}

// maxShown bounds what waits; more is lost, and told in the log.
const maxShown = 100_000

func (x *exposures) put(one exposure) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.list) >= maxShown {
		x.lost++
		return
	}
	x.list = append(x.list, one)
}

// forget takes a user's exposures out of what waits. It waits for what is being written.
func (x *exposures) forget(key spaceKey, user string) {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	kept := x.list[:0]
	for _, one := range x.list {
		if one.key != key || one.user != user {
			kept = append(kept, one)
		}
	}
	clear(x.list[len(kept):])
	x.list = kept
}

// flush writes the exposures that wait, by space. What cannot be written is kept.
func (e *Engine) flush(ctx context.Context) error {
	e.shown.writing.Lock()
	defer e.shown.writing.Unlock()
	e.shown.mu.Lock()
	list, lost := e.shown.list, e.shown.lost
	e.shown.list, e.shown.lost = nil, 0
	e.shown.mu.Unlock()
	if lost > 0 {
		e.log.Warn("recommend: exposures lost, the database is too slow", "count", lost)
	}
	bySpace := map[spaceKey][]exposure{}
	for _, x := range list {
		bySpace[x.key] = append(bySpace[x.key], x)
	}
	var errs []error
	for key, part := range bySpace {
		err := e.change(ctx, key.owner, key.name, func(tx *db.Tx, r *spaceRow) error { return insertExposures(tx, r, part) })
		if err == nil || isMissing(err) || problem.Is(err, problem.Conflict) { // the space is gone, or full
			continue
		}
		errs = append(errs, err)
		e.shown.mu.Lock()
		if len(e.shown.list)+len(part) <= maxShown {
			e.shown.list = append(e.shown.list, part...)
		}
		e.shown.mu.Unlock()
	}
	return errors.Join(errs...)
}

func insertExposures(tx *db.Tx, r *spaceRow, list []exposure) error {
	names := unique(list, func(x *exposure) string { return x.user })
	users, err := upsertUsers(tx, r, each(names, func(id *string) User { return User{ID: *id} }), true)
	if err != nil {
		return err
	}
	var c columns
	c.ints("space", repeat(r.id, len(list)))
	c.texts("request", each(list, func(x *exposure) string { return x.request }))
	c.texts("experiment", each(list, func(x *exposure) string { return x.experiment }))
	c.texts("arm", each(list, func(x *exposure) string { return x.arm }))
	c.ints("usr", each(list, func(x *exposure) int64 { return users[x.user] }))
	c.ints("at", each(list, func(x *exposure) int64 { return x.at }))
	_, _, err = tx.InsertRows("recommend_exposure", c.names, c.data, "ON CONFLICT DO NOTHING")
	return err
}

// ArmResult is what came of an arm. Users are what is compared: what one user does is not independent.
type ArmResult struct {
	Arm             string `json:"arm"`
	Users           int64  `json:"users"`           // who were shown anything
	Recommendations int64  `json:"recommendations"` // answers
	Clicked         int64  `json:"clicked"`         // answers that led to a view or click
	UsersClicked    int64  `json:"users_clicked"`   // who viewed or clicked through an answer
	UsersConverted  int64  `json:"users_converted"` // who purchased anything after the first answer
	Attributed      int64  `json:"attributed"`      // purchases that name an answer

	ClickRate      float64     `json:"click_rate"`      // users_clicked / users
	ConversionRate float64     `json:"conversion_rate"` // users_converted / users
	Click          *Comparison `json:"click,omitempty"` // against the first arm
	Conversion     *Comparison `json:"conversion,omitempty"`
}

// Comparison is a two-proportion test of an arm against the first.
type Comparison struct {
	Uplift      *float64 `json:"uplift,omitempty"` // relative: 0.1 is ten percent more; none if the first arm's rate is 0
	Difference  float64  `json:"difference"`       // of the rates
	Low         float64  `json:"low"`              // 95 % interval of the difference
	High        float64  `json:"high"`
	Z           float64  `json:"z"`
	P           float64  `json:"p"` // two-sided
	Significant bool     `json:"significant"`
	Enough      bool     `json:"enough"` // false: too few for the test to hold
}

// compare tests whether k of n differs from k0 of n0: pooled z test, and the interval of the difference unpooled.
// The normal approximation needs five expected of each kind on both sides.
func compare(k0, n0, k, n int64) *Comparison {
	c := &Comparison{P: 1}
	if n0 == 0 || n == 0 {
		return c
	}
	p0, p := float64(k0)/float64(n0), float64(k)/float64(n)
	c.Difference = p - p0
	if p0 > 0 {
		u := p/p0 - 1
		c.Uplift = &u
	}
	pool := float64(k0+k) / float64(n0+n)
	least := min(n0, n)
	c.Enough = float64(least)*pool >= 5 && float64(least)*(1-pool) >= 5
	if se := math.Sqrt(pool * (1 - pool) * (1/float64(n0) + 1/float64(n))); se > 0 {
		c.Z = c.Difference / se
		c.P = math.Erfc(math.Abs(c.Z) / math.Sqrt2)
	}
	half := 1.959963984540054 * math.Sqrt(p0*(1-p0)/float64(n0)+p*(1-p)/float64(n))
	c.Low, c.High = c.Difference-half, c.Difference+half
	c.Significant = c.Enough && c.P < 0.05
	return c
}

// results counts what came of an experiment.
func results(tx *db.Tx, space int64, x *experiment) ([]ArmResult, error) {
	out := make([]ArmResult, len(x.Arms))
	at := map[string]*ArmResult{}
	for i, a := range x.Arms {
		out[i].Arm = a.Name
		at[a.Name] = &out[i]
	}
	count := func(query string, put func(*ArmResult, int64, int64)) error {
		rows, err := tx.Query(query, space, x.Name)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var arm string
			var a, b int64
			if err := rows.Scan(&arm, &a, &b); err != nil {
				return err
			}
			if r := at[arm]; r != nil {
				put(r, a, b)
			}
		}
		return rows.Err()
	}
	err := count(`SELECT arm, COUNT(*), COUNT(DISTINCT usr) FROM recommend_exposure WHERE space = $1 AND experiment = $2 GROUP BY arm`,
		func(r *ArmResult, n, users int64) { r.Recommendations, r.Users = n, users })
	if err != nil {
		return nil, err
	}
	err = count(`SELECT x.arm, COUNT(DISTINCT x.request), COUNT(DISTINCT x.usr) FROM recommend_exposure x
		JOIN recommend_event e ON e.space = x.space AND e.request = x.request AND e.usr = x.usr AND e.request <> ''
		WHERE x.space = $1 AND x.experiment = $2 AND e.kind IN (1, 2) GROUP BY x.arm`,
		func(r *ArmResult, n, users int64) { r.Clicked, r.UsersClicked = n, users })
	if err != nil {
		return nil, err
	}
	err = count(`SELECT x.arm, COUNT(*), 0 FROM recommend_exposure x
		JOIN recommend_event e ON e.space = x.space AND e.request = x.request AND e.usr = x.usr AND e.request <> ''
		WHERE x.space = $1 AND x.experiment = $2 AND e.kind = 4 GROUP BY x.arm`,
		func(r *ArmResult, n, _ int64) { r.Attributed = n })
	if err != nil {
		return nil, err
	}
	err = count(`SELECT f.arm, COUNT(DISTINCT f.usr), 0 FROM
		(SELECT arm, usr, space, MIN(at) AS since FROM recommend_exposure WHERE space = $1 AND experiment = $2 GROUP BY arm, usr, space) f
		JOIN recommend_event e ON e.space = f.space AND e.usr = f.usr WHERE e.kind = 4 AND e.at >= f.since GROUP BY f.arm`,
		func(r *ArmResult, n, _ int64) { r.UsersConverted = n })
	if err != nil {
		return nil, err
	}
	for i := range out {
		r := &out[i]
		if r.Users > 0 {
			r.ClickRate, r.ConversionRate = float64(r.UsersClicked)/float64(r.Users), float64(r.UsersConverted)/float64(r.Users)
		}
		if i > 0 {
			r.Click = compare(out[0].UsersClicked, out[0].Users, r.UsersClicked, r.Users)
			r.Conversion = compare(out[0].UsersConverted, out[0].Users, r.UsersConverted, r.Users)
		}
	}
	return out, nil
}
