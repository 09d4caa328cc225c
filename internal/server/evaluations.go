package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/recommend"
	"github.com/tollgate-io/tollgate/internal/engine/speech"
	language "github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// run evaluates a family with engines of its own, on a database of its own.
func (e *evaluation) run(ctx context.Context, family string) ([]engine.Report, error) {
	log := slog.New(slog.DiscardHandler)
	date := time.Now().UTC().Format(time.DateOnly)
	switch family {
	case "text":
		return language.Evaluate(ctx, language.EvalOptions{Data: e.data, Dir: e.dir, Seed: e.seed, Date: date})
	case "speech":
		return speech.Evaluate(ctx, speech.Options{Dir: e.dir, ONNX: e.onnx, Log: log}, e.data)
	case "recommend":
		return recommend.Evaluate(ctx, recommend.EvalOptions{Seed: e.seed, Date: date, Scale: e.scale})
	case "assist":
		set := engineSet{vectors: language.NewVectors(e.dir)}
		o := assist.EvaluateOptions{Data: e.data, Now: time.Now().UTC(), Train: set.train, Trainer: "linear classifier of engine/text"}
		o.Embed, o.EmbedModel = set.embed()
		return assist.Evaluate(ctx, o)
	case "vision":
		v, err := vision.New(vision.Options{Dir: e.dir, ONNX: e.onnx, Log: log})
		if err != nil {
			return nil, err
		}
		defer v.Close(context.WithoutCancel(ctx))
		return vision.Evaluate(ctx, vision.EvaluateOptions{Engine: v, Data: e.data, Date: date})
	case "translate":
		return e.translation(ctx, log, date)
	}
	return nil, problem.New(problem.Invalid, "server.no_family", "there is no family %q of engines", family)
}

func (e *evaluation) translation(ctx context.Context, log *slog.Logger, date string) ([]engine.Report, error) {
	d, err := db.Open(ctx, "sqlite:"+filepath.Join(e.scratch, "evaluate.db"), db.Options{})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := d.Migrate(ctx, translate.Migrations); err != nil {
		return nil, err
	}
	t, err := translate.New(translate.Options{DB: d, Dir: e.dir, Log: log, Identify: language.NewIdentifier(e.dir).Identify})
	if err != nil {
		return nil, err
	}
	defer t.Close(context.WithoutCancel(ctx))
	return translate.Evaluate(ctx, translate.EvaluateOptions{Engine: t, Data: e.data, Date: date})
}
