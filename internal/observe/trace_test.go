package observe

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

func TestSpansReachAReceiver(t *testing.T) {
	r := harness.OTLP(t)
	tracing, err := NewTracing(t.Context(), r.URL, "backfleet-worker", "w1")
	require.NoError(t, err)
	tracer := tracing.Tracer()
	for _, index := range []int{7, 7, 8} { // two claims of one range, and one of another
		_, span := tracer.Start(OfRange(t.Context(), "01JNX4ZT0000000000000000AB", index), "range")
		span.End()
	}
	_, span := tracer.Start(t.Context(), "release")
	span.End()
	require.NoError(t, tracing.Shutdown(t.Context()))

	about := map[string]string{}
	for _, a := range r.Received()[0].GetResource().GetAttributes() {
		about[a.GetKey()] = a.GetValue().GetStringValue()
	}
	require.Equal(t, "backfleet-worker", about["service.name"])
	require.Equal(t, "w1", about["service.instance.id"])
	require.Equal(t, ThisBuild().Version, about["service.version"])
	traces, spans := map[string]int{}, map[string]bool{}
	for _, s := range append(r.Spans("range"), r.Spans("release")...) {
		traces[string(s.GetTraceId())]++
		spans[string(s.GetSpanId())] = true
		require.Empty(t, s.GetParentSpanId())
	}
	require.Len(t, spans, 4)
	require.Len(t, traces, 3, "the claims of a range share a trace")
}

func TestTracingIsOffByDefault(t *testing.T) {
	tracing, err := NewTracing(t.Context(), "", "backfleet-worker", "w1")
	require.NoError(t, err)
	require.Nil(t, tracing.Tracer())
	require.NoError(t, tracing.Shutdown(t.Context()))
	for _, bad := range []string{"collector:4318", "grpc://collector:4317", "http://", "://"} {
		_, err := NewTracing(t.Context(), bad, "s", "i")
		require.ErrorContains(t, err, "http://127.0.0.1:4318", bad)
	}
}
