package worker

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/backfleet/backfleet/internal/job"
)

func aClaim() job.Claim {
	return job.Claim{Ref: job.Ref{Database: "main", Job: "01JNX4ZT0000000000000000AB", Name: "norm", Index: 7, Generation: 2}, Kind: job.Fill, Fence: 3, Attempts: 1}
}

func TestASpanTellsOfAClaimAndNothingOfItsRows(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	w := &Worker{cfg: Config{ID: "w1", Tracer: provider.Tracer("test")}}
	const canary = "ann@example.org"
	bad := &pgconn.PgError{Code: "23514", Message: "violates check", Detail: "Failing row contains (" + canary + ")"}

	c := &carrier{rows: 1200, batches: 2}
	c.journey = w.depart(aClaim(), 1)
	c.journey.batch(1000, 1000, 25*time.Millisecond)
	c.journey.rolledBack(bad)
	c.journey.batch(200, 200, 5*time.Millisecond)
	c.journey.arrive(c, &rangeFailedError{bad})

	spans := recorder.Ended()
	require.Len(t, spans, 1)
	s := spans[0]
	require.Equal(t, "range", s.Name())
	about := map[attribute.Key]string{}
	for _, a := range s.Attributes() {
		about[a.Key] = a.Value.String()
		require.NotContains(t, a.Value.String(), canary)
	}
	require.Equal(t, map[attribute.Key]string{
		"backfleet.database": "main", "backfleet.job": "norm", "backfleet.job_id": "01JNX4ZT0000000000000000AB", "backfleet.range": "7",
		"backfleet.generation": "2", "backfleet.kind": "fill", "backfleet.fence": "3", "backfleet.attempts": "1", "backfleet.worker": "w1",
		"backfleet.slot": "1", "backfleet.outcome": "failed", "backfleet.rows": "1200", "backfleet.batches": "2",
		"backfleet.error_class": "data", "db.response.status_code": "23514",
	}, about)
	require.NotContains(t, s.Status().Description, canary)
	var events []string
	for _, e := range s.Events() {
		events = append(events, e.Name)
		for _, a := range e.Attributes {
			require.NotContains(t, a.Value.String(), canary)
		}
	}
	require.Equal(t, []string{"batch", "rollback", "batch"}, events)
}

func TestOutcomesOfAClaim(t *testing.T) {
	for want, end := range map[string]error{
		"done": nil, "lost to another claim": job.ErrFenced, "handed back: shutdown": errShutdown, "handed back: lease withdrawn": errWithdrawn,
		"handed back: job stopped": errStopped, "handed back: no budget heard": errDeaf, "failed": &rangeFailedError{errStopped}, "trouble": errHeld,
	} {
		require.Equal(t, want, outcomeOf(end))
	}
}

// Without an endpoint a batch costs nothing more.
func TestNoTraceCostsNothing(t *testing.T) {
	w := &Worker{}
	c := &carrier{}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		j := w.depart(job.Claim{}, 0)
		j.batch(1000, 1000, time.Millisecond)
		j.rolledBack(errHeld)
		j.arrive(c, nil)
	}))
}

func BenchmarkBatchWithoutTrace(b *testing.B) {
	j := (&Worker{}).depart(job.Claim{}, 0)
	b.ReportAllocs()
	for b.Loop() {
		j.batch(1000, 1000, time.Millisecond)
	}
}

func BenchmarkBatchWithTrace(b *testing.B) {
	w := &Worker{cfg: Config{Tracer: sdktrace.NewTracerProvider().Tracer("bench")}}
	j := w.depart(aClaim(), 0)
	b.ReportAllocs()
	for b.Loop() {
		j.batch(1000, 1000, time.Millisecond)
	}
}
