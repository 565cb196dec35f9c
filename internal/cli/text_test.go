package cli

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
	"github.com/backfleet/backfleet/ranges"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with testdata/<name>.txt.
func golden(t *testing.T, name string, write func(io.Writer)) {
	t.Helper()
	var got bytes.Buffer
	write(&got)
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(path, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

var (
	submitted = time.Date(2026, 3, 1, 1, 50, 0, 0, time.UTC)
	started   = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	now       = time.Date(2026, 3, 1, 3, 0, 30, 0, time.UTC)
)

func runningStatus() job.Status {
	eta := job.ETA{Low: job.Duration(2*time.Hour + 5*time.Minute), High: job.Duration(3 * time.Hour), Note: "verification included"}
	st := job.Status{
		ID: "01JNX4ZT0000000000000000AB", Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Running,
		Estimate: 120_000_000, EstimateBy: "reltuples", Ranges: job.RangeCounts{Total: 1402, Queued: 0, Released: 870, Running: 5, Done: 520, Failed: 2, Skipped: 5},
		Rows: 26_012_400, Batches: 26_020, Retries: 1, Quarantine: 3, Fraction: 0.37199, Rate: 7213.6, ETA: &eta, Live: true,
		Lag: map[string]job.Lag{"standby1": {Seconds: 2.13, Bytes: 18_200_000}, "standby2": {Seconds: 0.04, Bytes: 900}},
		Limiting: []job.Reason{
			{Signal: "lag", Text: "replication lag of standby1 2.1 s over 1 s", Observed: 2.1, Threshold: 1},
			{Signal: "rows", Text: "max_rows_per_second 50000"},
		},
		Lost: []job.Loss{{Signal: "lag of standby1", Share: 0.2345, Seconds: 844}, {Signal: "window", Share: 0.1, Seconds: 360}},
		Workers: []job.WorkerOnJob{
			{Worker: "db7-4711-0a1b2c3d", Range: 521, Rows: 12_000}, {Worker: "db7-4711-0a1b2c3d", Range: 522, Rows: 1},
			{Worker: "db8-99-0a1b2c3e", Range: 523}, {Worker: "db8-99-0a1b2c3e", Range: 524}, {Worker: "db9-7-0a1b2c3f", Range: 525},
		},
		Stream: &job.StreamLag{Pending: 870, AckPending: 5}, By: "ann@ops1", Submitted: submitted, Started: &started,
	}
	st.Limits.Workers.Max = 16
	return st
}

func TestStatusText(t *testing.T) {
	golden(t, "status-running", func(w io.Writer) { statusText(w, runningStatus(), now) })

	paused := job.Status{
		ID: "01JNX4ZT0000000000000000AB", Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Paused,
		Reason: "more than 100 rows are in quarantine", Ranges: job.RangeCounts{Total: 40, Queued: 39, Done: 1}, Rows: 1, Batches: 1,
		Quarantine: 101, By: "ann@ops1", Submitted: submitted, Started: &started,
	}
	golden(t, "status-paused", func(w io.Writer) { statusText(w, paused, now) })

	complete := job.Status{
		ID: "01JNX4ZT0000000000000000AB", Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Complete,
		Planned: true, Ranges: job.RangeCounts{Total: 40, Done: 40}, Rows: 2_000_000, Batches: 2_011, Fraction: 1, Round: 1,
		By: "ann@ops1", Submitted: submitted, Started: &started, Ended: &now,
	}
	golden(t, "status-complete", func(w io.Writer) { statusText(w, complete, now.Add(time.Hour)) })
}

func TestDetailTextTellsWhatWasSet(t *testing.T) {
	limits := func(rows float64, more map[string]any) map[string]any {
		m := map[string]any{"weight": 1.0, "throttle": map[string]any{"max_rows_per_second": rows, "lag": map[string]any{"target": "1s"}}}
		maps.Copy(m, more)
		return m
	}
	require.Equal(t, ": throttle.max_rows_per_second 3000 → 500, workers.max unset → 4", detailText(map[string]any{
		"old": limits(3000, nil), "new": limits(500, map[string]any{"workers": map[string]any{"max": 4.0}}),
	}))
	require.Equal(t, ": running → paused (deploy)", detailText(map[string]any{"old": "running", "new": "paused", "reason": "deploy"}))
	require.Empty(t, detailText(map[string]any{"old": limits(1, nil), "new": limits(1, nil)}))
}

func TestJobsText(t *testing.T) {
	eta := job.ETA{Low: job.Duration(90 * time.Second), High: job.Duration(90 * time.Second)}
	golden(t, "jobs", func(w io.Writer) {
		jobsText(w, api.JobList{
			Jobs: []api.JobLine{
				{Job: api.Job{Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Running, Submitted: submitted},
					Progress: &api.Progress{Fraction: 0.999, Live: true, Rate: 1234.4, ETA: &eta}},
				{Job: api.Job{Name: "old", Database: "audit", Table: "events", State: job.CompleteWithErrors, Submitted: submitted}},
			},
			Unreachable: []api.Unreachable{{Database: "spare", Error: "cannot connect: connection refused"}},
		})
		jobsText(w, api.JobList{})
	})
}

func TestReportText(t *testing.T) {
	none, two := int64(0), int64(2)
	wal, heap, shrunk := int64(25<<30), int64(4<<30), int64(-8192)
	ended := started.Add(2*time.Hour + 3*time.Minute)
	whole := job.Report{
		Job: "01JNX4ZT0000000000000000AB", Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Complete,
		SpecHash: "9f86d081884c7d659a2feaa0c55ad015", Verified: true, Residual: &none, CheckFails: &none, Rounds: 1, Repaired: 3,
		Coverage: []job.Coverage{{Relation: "public.users", Ranges: 1402, Bound: ranges.Key{"120000000"}}},
		Rows:     70_012_400, Batches: 70_020, Retries: 12, Takeovers: 4, Submitted: submitted, Started: &started, Ended: &ended,
		Duration: job.Duration(ended.Sub(started)), RowsPerSec: 9486.7,
		Lost: []job.Loss{{Signal: "lag of standby1", Share: 0.2345, Seconds: 1731}, {Signal: "window", Share: 0.1, Seconds: 738}},
		Forecast: &job.Forecast{
			At: submitted, Rows: job.Amount{Low: 70_000_000, High: 70_000_000}, WAL: job.Amount{Low: 20 << 30, High: 31 << 30}, Slots: 4,
			Duration: job.Times{Low: job.Duration(80 * time.Minute), High: job.Duration(3 * time.Hour)}, Binding: "4 slots",
			Heap: job.Amount{Low: 2 << 30, High: 9 << 30},
		},
		Outcome: &job.Outcome{Duration: job.Duration(ended.Sub(started)), Rows: 70_012_400, WAL: &wal, Heap: &heap, Index: &shrunk},
		Workers: []job.WorkerTotal{{Worker: "db7-4711-0a1b2c3d", Ranges: 800, Rows: 40_000_000}, {Worker: "db8-99-0a1b2c3e", Ranges: 1, Rows: 1}},
		Events: []job.Event{
			{ID: 3, At: ended, By: "coordinator", Action: "end", Detail: map[string]any{"old": "verifying", "new": "complete"}},
			{ID: 2, At: started.Add(time.Minute), By: "ann@ops1", Action: "pause", Detail: map[string]any{"old": "running", "new": "paused", "reason": "deploy"}},
			{ID: 1, At: submitted, By: "ann@ops1", Action: "submit", Detail: map[string]any{"spec_hash": "9f86"}},
		},
		Promise: "Each row visible to its batch was updated exactly once.",
	}
	golden(t, "report-complete", func(w io.Writer) { reportText(w, whole) })

	broken := job.Report{
		Job: "01JNX4ZT0000000000000000AC", Name: "events-day", Database: "main", Table: "public.events", State: job.Failed, SpecHash: "9f86",
		Reason: "2 rows reappeared after 3 passes", Residual: &two, Rounds: 3, Submitted: submitted,
		Coverage: []job.Coverage{
			{Relation: "public.events_2026_01", Ranges: 2, Bound: ranges.Key{"7", "2026-01-31"}, Gaps: []string{"gap: [(1, a), (2, b)) is failed"}},
			{Relation: "public.events_2026_02"},
		},
		Quarantined: []job.Quarantined{{Relation: "public.events_2026_01", Key: ranges.Key{"7", "2026-01-03"}, SQLState: "22P02",
			Error: "invalid input syntax for type integer: \"x\"", Attempts: 2, By: "db7-4711-0a1b2c3d"}},
		Dropped: []string{"public.events_2025_01"}, Skipped: []ranges.Span{{Lo: ranges.Key{"1"}, Hi: ranges.Key{"9"}}},
		Samples: []ranges.Key{{"7", "2026-01-04"}, {"7", "2026-01-05"}},
	}
	golden(t, "report-failed", func(w io.Writer) { reportText(w, broken) })
}

func TestDoctorText(t *testing.T) {
	golden(t, "doctor", func(w io.Writer) {
		doctorText(w, []finding{
			{Result: checkOK, Subject: "database main", Text: "is a primary"},
			{Result: checkWarn, Subject: "database main", Text: "its clock is 3.0s off", Hint: "run a time service"},
			{Result: checkFail, Subject: "nats", Text: "nobody answers"},
		})
	})
}

func TestFormats(t *testing.T) {
	require.Equal(t, "-1,234,567", words.Count(-1234567))
	require.Equal(t, "999", words.Count(int64(999)))
	require.Equal(t, "1 row", words.Plural(1, "row"))
	require.Equal(t, "2 batches", words.Plural(2, "batch"))
	require.Equal(t, "0 batch retries", words.Plural(0, "batch retry"))
	require.Equal(t, "99.9 %", words.Percent(0.99999), "100 % means all")
	require.Equal(t, "100.0 %", words.Percent(1))
	require.Equal(t, "17.4 MiB", words.Size(18_200_000))
	require.Equal(t, "12 B", words.Size(12))
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 350 * time.Millisecond: "350ms", 12 * time.Second: "12.0s", 320 * time.Second: "5m20s",
		2*time.Hour + 5*time.Minute: "2h05m", 76 * time.Hour: "3d4h",
	} {
		require.Equal(t, want, words.Long(d))
	}
	require.Equal(t, "abc…", words.Clip("abcdef", 4))
	require.Equal(t, "äöü", words.Clip("äöü", 3))
}

func TestScreenOnATerminalKeepsLogsAboveTheProgress(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, width: 80}
	s.show(job.Status{Name: "a", State: job.Running}, now)
	lines := len(s.drawn)
	out.Reset()
	_, err := s.Write([]byte("a log line\n"))
	require.NoError(t, err)
	up, rest, _ := strings.Cut(out.String(), "A")
	require.Equal(t, "\x1b["+string(rune('0'+lines)), up)
	require.True(t, strings.HasPrefix(rest, "\r\x1b[Ja log line\na  running\n"), "%q", rest)
	s.close()
	out.Reset()
	_, err = s.Write([]byte("after\n"))
	require.NoError(t, err)
	require.Equal(t, "after\n", out.String())
}

func TestScreenWithoutATerminalWritesALineNowAndThenAndAtEachChange(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out}
	for i, state := range []job.State{job.Planning, job.Planning, job.Running, job.Running, job.Running} {
		s.show(job.Status{Name: "a", State: state}, now.Add(time.Duration(i)*2*time.Second))
	}
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	s.show(job.Status{Name: "a", State: job.Running}, now.Add(20*time.Second))
	require.Equal(t, 3, strings.Count(out.String(), "\n"))
	s.trouble("the database is away", now)
	s.trouble("the database is away", now)
	require.Equal(t, 4, strings.Count(out.String(), "\n"))
	require.NotContains(t, out.String(), "\x1b")
}

func TestThrottleText(t *testing.T) {
	number := func(v float64) *float64 { return &v }
	until, closes := now.Add(time.Hour), now.Add(3*time.Hour)
	lag := job.LagRules{Target: job.Duration(time.Second), Soft: job.Duration(5 * time.Second), Hard: job.Duration(10 * time.Second)}
	throttled := job.ThrottleRules{Lag: lag, MaxRowsPerSecond: 50_000, MaxWALBytesPerSecond: 20 << 20,
		Replicas: map[string]string{"reporting": "ignore", "standby1": "hold"}}
	golden(t, "throttle", func(w io.Writer) {
		throttleText(w, api.DatabaseThrottle{
			Database: "main", Leader: &api.Leader{Owner: "db7-4711-0a1b2c3d"},
			Rules: job.DatabaseRules{MaxWALBytesPerSecond: 40 << 20, Override: &job.Override{Rate: 0.5, Until: until, By: "ann@ops1"}},
			Brake: &job.Brake{Until: until, By: "olga", Reason: "incident 4711"},
			Go:    &api.Verdict{Reason: &job.Reason{Text: "held by olga until 2026-03-01T04:00:30Z: incident 4711"}},
			Jobs: []api.JobThrottle{
				{Name: "users-email-norm", State: job.Running, Rules: throttled, Limiting: []job.Reason{{Text: "held by olga", Hard: true}, {Text: "override"}},
					Schedule: api.ScheduleNow{Rate: 0.5, Why: "override by ann@ops1 until 2026-03-01T04:00:30Z: rate 0.5", Till: &closes}},
				{Name: "orders", State: job.Paused, Rules: job.ThrottleRules{Lag: lag}, Schedule: api.ScheduleNow{Rate: 1}},
			},
			Signals: []api.SignalInForce{
				{Name: "archive_queue", Soft: number(20), Hard: number(42), Unit: "segments", Now: &job.Signal{Value: 3, At: now}},
				{Name: "disk_free", Soft: number(0.2), Hard: number(0.1), Below: true, Unit: "share", Now: &job.Signal{Value: 0.437, At: now}},
				{Name: "hot_ratio", Unit: "share", Now: &job.Signal{Value: 0.58, At: now, Detail: "public.users"}},
				{Name: "oldest_transaction", Soft: number(900), Unit: "s", Now: &job.Signal{Value: 75, At: now, Detail: "pid 4711 of app"}},
				{Name: "queue", Hard: number(2.5), Asks: "SQL: SELECT count(*) FROM queue", Now: &job.Signal{Error: "permission denied"}},
				{Name: "traffic", Hard: number(1), Unit: "verdict", Asks: "HTTP: http://127.0.0.1:8080/go", Now: &job.Signal{Value: 1, At: now}},
				{Name: "xid_age", Soft: number(500e6), Hard: number(1.2e9), Unit: "transactions"},
			},
		})
		say(w, "")
		throttleText(w, api.DatabaseThrottle{Database: "main"})
		throttleText(w, api.DatabaseThrottle{Database: "main", Leader: &api.Leader{Owner: "c1"}})
		throttleText(w, api.DatabaseThrottle{Database: "main", Go: &api.Verdict{OK: true}})
	})
}

// An error's text, a key or a reason is whatever a row, a server or a person wrote: a terminal must not obey it.
func TestNoAnswerCommandsTheTerminal(t *testing.T) {
	st := runningStatus()
	st.State, st.Reason = job.Failed, "value \x1b]0;owned\x07\x1b[2J\u202ebad\u009b2J\r\ttab"
	var out, wrong bytes.Buffer
	a := &app{stdout: &out, stderr: &wrong, output: "text"}
	require.NoError(t, a.print(st, func(w io.Writer) { statusText(w, st, now) }))
	require.NotRegexp(t, "[\x1b\x07\r\u202e\u009b]", out.String())
	require.Contains(t, out.String(), "value ]0;owned[2Jbad2J\ttab")
	a.end(errors.New("key \x1b[2J\x1b]52;c;AAAA\x07 is not there"))
	require.Equal(t, "backfleet: key [2J]52;c;AAAA is not there\n", wrong.String())
	require.Equal(t, "\x1b[31mred\x1b[0m", string(harmless([]byte("\x1b[31mred\x1b[0m"))), "its own colors stay")
}
