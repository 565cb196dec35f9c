package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/test/harness"
)

// write starts OLTP traffic on the table: it changes columns that the job leaves alone and inserts rows above the bound. Its errors
// are no finding: servers are killed under it.
func (f *fleet) write() {
	f.t.Helper()
	f.load = harness.Writer{Pool: f.pool, Clients: 2, Rate: 100, Seed: 1, Ops: []harness.Op{
		harness.SQL("update", 3, "UPDATE public.accounts SET note = $2 WHERE id = $1", func(r *rand.Rand) []any {
			return []any{1 + r.Int64N(f.rows), strconv.FormatUint(r.Uint64(), 36)}
		}),
		harness.SQL("insert", 1, "INSERT INTO public.accounts (name) VALUES ('late')", nil),
	}}.Start(context.WithoutCancel(f.t.Context()))
	f.t.Cleanup(func() { f.load.Stop() })
}

// prove waits for the job's end and checks that it kept every promise.
func (f *fleet) prove(notes ...string) job.Report {
	f.t.Helper()
	f.awaitEnd()
	report := f.proveRows(job.Complete)
	f.proveStream()
	line := fmt.Sprintf("%s: %d rows once each, %d batches, %d takeovers, %d retries", f.job, report.Rows, report.Batches, report.Takeovers, report.Retries)
	for _, n := range notes {
		line += "; " + n
	}
	f.t.Log(line)
	return report
}

// awaitEnd waits until the job has ended and nothing is left for its coordinator to do.
func (f *fleet) awaitEnd() {
	f.t.Helper()
	f.awaitSQL("the job has ended and its stream is clear", `SELECT stream_clear AND state IN
		('complete', 'complete_with_errors', 'failed', 'cancelled') FROM backfleet.jobs WHERE name = $1 ORDER BY submitted_at DESC LIMIT 1`, f.job)
	if f.load != nil {
		s := f.load.Stop()
		f.t.Logf("OLTP: %d operations, %d errors, p99 %s", s.All.Done, s.All.Errors, s.All.P99.Round(100*time.Microsecond))
	}
}

// proveRows holds the table and the ledger against the promise.
func (f *fleet) proveRows(want job.State) (report job.Report) {
	f.t.Helper()
	ctx := f.t.Context()
	a := f.cli("report", f.job, "-o", "json")
	require.NoError(f.t, json.Unmarshal([]byte(a.stdout), &report), a.stdout+a.stderr)
	require.Equal(f.t, want, report.State, report.Reason)
	require.Len(f.t, report.Coverage, 1)
	require.Empty(f.t, report.Coverage[0].Gaps, "the ranges tile the key space")
	require.Len(f.t, report.Coverage[0].Bound, 1)
	bound := report.Coverage[0].Bound[0]
	if f.blocks { // of row addresses; a row that moves while they are walked may be left for the repair
		bound = strconv.FormatInt(f.rows, 10)
		require.NotNil(f.t, report.LastLook)
		require.Zero(f.t, *report.Residual)
	} else {
		require.Zero(f.t, report.Repaired, "nothing was left for the repair")
	}
	require.Empty(f.t, report.Quarantined)

	rows, err := f.pool.Query(ctx, `SELECT id <= $1::text::bigint, counter, count(*), min(id), max(id) FROM public.accounts GROUP BY 1, 2`, bound)
	require.NoError(f.t, err)
	var below bool
	var counter int
	var n, done, least, most int64
	for rows.Next() {
		require.NoError(f.t, rows.Scan(&below, &counter, &n, &least, &most))
		if below {
			done += n
		}
		if below != (counter == 1) || counter > 1 {
			f.t.Errorf("%d rows with id %d to %d, below the bound %s: %t, have counter %d", n, least, most, bound, below, counter)
		}
	}
	require.NoError(f.t, rows.Err())
	require.GreaterOrEqual(f.t, done, f.rows)
	require.Equal(f.t, done, report.Rows, "the ledger counts what the table holds")

	var open int
	require.NoError(f.t, f.pool.QueryRow(ctx, `SELECT count(*) FROM backfleet.ranges
		WHERE state <> 'done' AND NOT (kind = 'verify' AND state = 'dropped') AND job_id = $1`, report.Job).Scan(&open)) // a round in a lost snapshot is taken back
	require.Zero(f.t, open, "ranges that are not done")
	return report
}

// proveStream checks that nothing of the job is left in the stream.
func (f *fleet) proveStream() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	nc, err := nats.Connect(f.natsURL())
	require.NoError(f.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(f.t, err)
	stream, err := js.Stream(ctx, "BACKFLEET")
	require.NoError(f.t, err)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	require.NoError(f.t, err)
	require.Zero(f.t, info.State.Msgs, "messages left: %v", info.State.Subjects)
	require.Zero(f.t, info.State.Consumers, "consumers left")
}

// proveEmbedded checks the same in the store that a `backfleet run` left behind.
func (f *fleet) proveEmbedded(store string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	e, err := queue.Embed(queue.EmbedOptions{StoreDir: store})
	require.NoError(f.t, err)
	defer e.Shutdown()
	conn, err := e.Connect(ctx, queue.Options{Name: "test"})
	require.NoError(f.t, err)
	defer conn.Close()
	left, err := conn.Inventory(ctx, "main", f.job)
	require.NoError(f.t, err)
	require.Empty(f.t, left, "messages left")
	_, err = conn.Lag(ctx, "main", f.job)
	require.ErrorIs(f.t, err, queue.ErrNoConsumer, "the consumer is left")
}
