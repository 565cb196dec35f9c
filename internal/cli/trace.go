package cli

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/observe"
)

// traceFlags say where spans go.
type traceFlags struct{ endpoint string }

func (t *traceFlags) add(f *pflag.FlagSet, a *app) {
	f.StringVar(&t.endpoint, "otlp-endpoint", a.env("OTEL_EXPORTER_OTLP_ENDPOINT"),
		"`URL` of an OpenTelemetry receiver (OTLP over HTTP) for traces, e.g. http://127.0.0.1:4318 (OTEL_EXPORTER_OTLP_ENDPOINT; default: no traces)")
}

// check refuses an endpoint that cannot be one, before anything is started.
func (t traceFlags) check() error {
	if t.endpoint == "" {
		return nil
	}
	if _, err := observe.TracesURL(t.endpoint); err != nil {
		return usage("otlp-endpoint: %w", err)
	}
	return nil
}

// complainEvery is how often it is told that spans are not taken.
const complainEvery = time.Minute

// start begins to record spans, where an endpoint is given, and sends what is left when the parts that were started later have ended.
func (t traceFlags) start(ctx context.Context, p *parts, service, instance string, log *zap.Logger) (observe.Tracing, error) {
	tracing, err := observe.NewTracing(ctx, t.endpoint, service, instance)
	if err != nil {
		return tracing, usage("otlp-endpoint: %w", err)
	}
	if t.endpoint == "" {
		return tracing, nil
	}
	var said atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now := time.Now().UnixNano()
		if last := said.Load(); now-last >= int64(complainEvery) && said.CompareAndSwap(last, now) {
			log.Warn("spans not sent; the fleet needs none", zap.Error(err))
		}
	}))
	p.then("traces", func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		_ = tracing.Shutdown(ctx) // it is told by the handler
	})
	return tracing, nil
}
