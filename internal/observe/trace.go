package observe

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/backfleet/backfleet/internal/job"
)

// The attributes of spans and of their events. None holds a key, a value of a row, the text of an error or an address: what a row
// holds may be secret, and a trace goes elsewhere.
const (
	TraceDatabase   = attribute.Key("backfleet.database")
	TraceJob        = attribute.Key("backfleet.job")
	TraceJobID      = attribute.Key("backfleet.job_id")
	TraceKind       = attribute.Key("backfleet.kind") // fill or verify
	TraceRange      = attribute.Key("backfleet.range")
	TraceRanges     = attribute.Key("backfleet.ranges") // how many
	TraceGeneration = attribute.Key("backfleet.generation")
	TraceFence      = attribute.Key("backfleet.fence")
	TraceAttempts   = attribute.Key("backfleet.attempts")
	TraceWorker     = attribute.Key("backfleet.worker")
	TraceSlot       = attribute.Key("backfleet.slot")
	TraceRows       = attribute.Key("backfleet.rows")
	TraceKeys       = attribute.Key("backfleet.keys")
	TraceBatches    = attribute.Key("backfleet.batches")
	TraceSeconds    = attribute.Key("backfleet.sql_seconds")
	TraceOutcome    = attribute.Key("backfleet.outcome")
	TraceState      = attribute.Key("backfleet.state") // of a job
	TraceMissing    = attribute.Key("backfleet.missing_messages")
	TraceClass      = attribute.Key("backfleet.error_class")
	TraceSQLState   = attribute.Key("db.response.status_code")
)

// scope is the name under which spans are recorded.
const scope = "github.com/backfleet/backfleet"

// maxEvents is how many events, which are batches, a span keeps; of a longer range the first ones are left out and counted.
const maxEvents = 1024

// Tracing is where a process records spans. Its zero value records none and costs nothing.
type Tracing struct{ provider *sdktrace.TracerProvider }

// NewTracing records spans and sends them to an OTLP receiver over HTTP: to <endpoint>/v1/traces. service and instance name the
// process. Headers, TLS, time-outs and the sampler are set by the variables that OpenTelemetry has for them (OTEL_EXPORTER_OTLP_HEADERS,
// OTEL_TRACES_SAMPLER ...). An empty endpoint is no tracing. A receiver that is away costs spans and nothing else.
func NewTracing(ctx context.Context, endpoint, service, instance string) (Tracing, error) {
	if endpoint == "" {
		return Tracing{}, nil
	}
	address, err := TracesURL(endpoint)
	if err != nil {
		return Tracing{}, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(address))
	if err != nil {
		return Tracing{}, fmt.Errorf("prepare the exporter: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", ThisBuild().Version),
		attribute.String("service.instance.id", instance),
	), resource.WithFromEnv())
	if err != nil {
		return Tracing{}, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.EventCountLimit = maxEvents
	return Tracing{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithIDGenerator(ids{}), sdktrace.WithRawSpanLimits(limits),
	)}, nil
}

// TracesURL is where the receiver at an endpoint takes traces.
func TracesURL(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is not an address; write http://127.0.0.1:4318", Redact(endpoint))
	}
	return u.JoinPath("v1", "traces").String(), nil
}

// Tracer records spans; nil where none are recorded, so that nothing is spent on them.
func (t Tracing) Tracer() trace.Tracer {
	if t.provider == nil {
		return nil
	}
	return t.provider.Tracer(scope)
}

// Shutdown sends what is left, until ctx ends.
func (t Tracing) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

type traced int

const tracedRange traced = iota

// OfRange marks a context, so that a span that begins in it belongs to the trace of the range: every claim of a range is in one trace,
// whichever workers made them, and a sampler decides the same for each.
func OfRange(ctx context.Context, id job.ID, index int) context.Context {
	sum := sha256.Sum256([]byte(string(id) + "." + strconv.Itoa(index)))
	return context.WithValue(ctx, tracedRange, trace.TraceID(sum[:16]))
}

// ids makes the numbers of spans: random ones, but for the trace of a range.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(tracedRange).(trace.TraceID)
	for !id.IsValid() || !ok {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
		ok = true
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
