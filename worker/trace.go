package worker

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
)

// journey is one claim of a range as a span, with its batches as events. Where no spans are recorded its methods do nothing.
type journey struct{ span trace.Span }

// depart begins the span of a claim.
func (w *Worker) depart(c job.Claim, slot int) journey {
	if w.cfg.Tracer == nil {
		return journey{}
	}
	_, span := w.cfg.Tracer.Start(observe.OfRange(context.Background(), c.Ref.Job, c.Ref.Index), "range")
	if !span.IsRecording() {
		return journey{}
	}
	span.SetAttributes(
		observe.TraceDatabase.String(c.Ref.Database), observe.TraceJob.String(c.Ref.Name), observe.TraceJobID.String(string(c.Ref.Job)),
		observe.TraceRange.Int(c.Ref.Index), observe.TraceGeneration.Int(c.Ref.Generation), observe.TraceKind.String(string(c.Kind)),
		observe.TraceFence.Int64(c.Fence), observe.TraceAttempts.Int(c.Attempts), observe.TraceWorker.String(w.cfg.ID), observe.TraceSlot.Int(slot),
	)
	return journey{span}
}

// batch notes a committed batch.
func (j journey) batch(keys int, rows int64, took time.Duration) {
	if j.span == nil {
		return
	}
	j.span.AddEvent("batch", trace.WithAttributes(
		observe.TraceKeys.Int(keys), observe.TraceRows.Int64(rows), observe.TraceSeconds.Float64(took.Seconds())))
}

// rolledBack notes a batch that failed, by the class of its error and its SQLSTATE: the error's text may hold a row's values.
func (j journey) rolledBack(err error) {
	if j.span == nil {
		return
	}
	j.span.AddEvent("rollback", trace.WithAttributes(failure(err)...))
}

func failure(err error) []attribute.KeyValue {
	about := []attribute.KeyValue{observe.TraceClass.String(postgres.Classify(err).String())}
	if state := postgres.SQLState(err); state != "" {
		about = append(about, observe.TraceSQLState.String(state))
	}
	return about
}

// arrive ends the span with how the claim ended.
func (j journey) arrive(c *carrier, end error) {
	if j.span == nil {
		return
	}
	outcome := outcomeOf(end)
	j.span.SetAttributes(observe.TraceOutcome.String(outcome), observe.TraceRows.Int64(c.rows), observe.TraceBatches.Int64(c.batches))
	switch outcome {
	case "done":
		j.span.SetStatus(codes.Ok, "")
	case "failed", "trouble":
		j.span.SetStatus(codes.Error, outcome)
		j.span.SetAttributes(failure(end)...)
	}
	j.span.End()
}

// outcomeOf says how a claim ended, in a word of few.
func outcomeOf(end error) string {
	var failed *rangeFailedError
	switch {
	case end == nil:
		return "done"
	case errors.As(end, &failed):
		return "failed"
	case errors.Is(end, job.ErrFenced):
		return "lost to another claim"
	case errors.Is(end, errShutdown):
		return "handed back: shutdown"
	case errors.Is(end, errWithdrawn):
		return "handed back: lease withdrawn"
	case errors.Is(end, errStopped):
		return "handed back: job stopped"
	case errors.Is(end, errDeaf):
		return "handed back: no budget heard"
	}
	return "trouble"
}
