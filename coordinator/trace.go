package coordinator

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

// traced records what was done for a job as a span, where spans are recorded. An error is told as such, without its text.
func (c *Coordinator) traced(ctx context.Context, name string, began time.Time, j job.Job, err error, about ...attribute.KeyValue) {
	if c.cfg.Tracer == nil {
		return
	}
	_, span := c.cfg.Tracer.Start(ctx, name, trace.WithTimestamp(began))
	if span.IsRecording() {
		span.SetAttributes(observe.TraceDatabase.String(j.Database), observe.TraceJob.String(j.Name), observe.TraceJobID.String(string(j.ID)))
		span.SetAttributes(about...)
		if err != nil {
			span.SetStatus(codes.Error, "failed")
		}
	}
	span.End()
}
