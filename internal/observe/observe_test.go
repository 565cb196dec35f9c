package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

func TestLoggerWritesLinesOfTheFormatFromTheLevelUp(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "warn")
	require.NoError(t, err)
	log.Info("not shown")
	log.Warn("range taken back", zap.String(Job, "norm"), zap.Int(Range, 7))

	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "range taken back", line["message"])
	require.Equal(t, "warn", line["level"])
	require.Equal(t, "norm", line["job"])
	require.Equal(t, 7.0, line["range"])

	_, err = NewLogger(&out, "xml", "info")
	require.ErrorContains(t, err, "log-format")
	require.ErrorContains(t, err, "console or json")
	_, err = NewLogger(&out, "json", "loud")
	require.ErrorContains(t, err, "debug, info, warn, error")
}

func TestNoSecretLeavesALogger(t *testing.T) {
	const canary = "h0rse!staple"
	for _, secret := range []string{
		"postgres://app:" + canary + "@db/main",
		"postgres://app:p@" + canary + "@db/main",
		"postgres://db/main?user=app&password=" + canary + "&sslmode=require",
		"host=db password=" + canary + " user=app",
		"host=db password = 'two words \\' " + canary + "' user=app",
		"PGPASSWORD=" + canary,
		"nats://" + canary + "@hub:4222",
		"Authorization: Bearer " + canary,
		`{"token":"` + canary + `"}`,
	} {
		for _, format := range LogFormats {
			var out bytes.Buffer
			log, err := NewLogger(&out, format, "debug")
			require.NoError(t, err)
			log.Error("cannot connect to "+secret, zap.String(Reason, secret), zap.Error(errors.New(secret)))
			require.NotContains(t, out.String(), canary)
		}
	}
	require.Equal(t, "postgres://app@db/main is down", Redact("postgres://app@db/main is down"))
	require.Equal(t, "job norm: state: paused", Redact("job norm: state: paused"))
}

func TestHealth(t *testing.T) {
	var h Health
	mux := http.NewServeMux()
	h.Handle(mux)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	db, nats := h.Register("database main"), h.Register("nats")
	require.Same(t, db, h.Register("database main"))

	code, body := get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"ok":false,"components":{"database main":"starting","nats":"starting"}}`, body)

	db.Healthy()
	nats.Healthy()
	code, _ = get("/readyz")
	require.Equal(t, http.StatusOK, code)

	nats.Unhealthy("no server at nats://tok@hub")
	code, body = get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.NotContains(t, body, "tok@")
	code, _ = get("/healthz")
	require.Equal(t, http.StatusOK, code, "a lost server is no reason to be killed")

	nats.Dead("credentials revoked")
	code, _ = get("/healthz")
	require.Equal(t, http.StatusServiceUnavailable, code)
}

func TestJobMetrics(t *testing.T) {
	eta := job.ETA{Low: job.Duration(90 * time.Second), High: job.Duration(2 * time.Minute)}
	read := func(context.Context) ([]job.Status, error) {
		return []job.Status{
			{
				Name: "norm", Database: "main", State: job.Running, Rows: 1200, Batches: 3, Quarantine: 1, Rate: 400, ETA: &eta,
				Ranges:   job.RangeCounts{Total: 10, Queued: 5, Released: 2, Running: 1, Done: 2},
				Lag:      map[string]job.Lag{"standby1": {Seconds: 2.5}, "standby2": {Seconds: 0.1, Missing: true}},
				Limiting: []job.Reason{{Signal: "lag", Hard: true}, {Signal: "cap"}},
				Lost:     []job.Loss{{Signal: "lag", Share: 0.5, Seconds: 12.5}},
				Workers:  []job.WorkerOnJob{{Worker: "w1"}},
				Stream:   &job.StreamLag{Pending: 2, AckPending: 1},
			},
			{Name: "norm", Database: "main", State: job.Cancelled}, // its predecessor of the same name
		}, nil
	}
	r := NewRegistry()
	require.NoError(t, r.Register(Jobs(read)))
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP backfleet_job_eta_high_seconds The most time to the job's end that is expected; absent while unknown.
# TYPE backfleet_job_eta_high_seconds gauge
backfleet_job_eta_high_seconds{database="main",job_name="norm"} 120
# HELP backfleet_job_eta_low_seconds The least time to the job's end that is expected; absent while unknown.
# TYPE backfleet_job_eta_low_seconds gauge
backfleet_job_eta_low_seconds{database="main",job_name="norm"} 90
# HELP backfleet_job_held 1 while a hard signal stops every batch of the job.
# TYPE backfleet_job_held gauge
backfleet_job_held{database="main",job_name="norm"} 1
# HELP backfleet_job_limiting 1 for the signal that limits the job most now.
# TYPE backfleet_job_limiting gauge
backfleet_job_limiting{database="main",job_name="norm",reason="lag"} 1
# HELP backfleet_job_lost_seconds_total Seconds of full speed that the job lost to a signal since its start.
# TYPE backfleet_job_lost_seconds_total counter
backfleet_job_lost_seconds_total{database="main",job_name="norm",reason="lag"} 12.5
# HELP backfleet_job_ranges_open Ranges that are not at their end, in the stream or still in the ledger: the consumer lag to scale on.
# TYPE backfleet_job_ranges_open gauge
backfleet_job_ranges_open{database="main",job_name="norm"} 8
# HELP backfleet_job_replica_lag_seconds Lag of a replica that the job waits for.
# TYPE backfleet_job_replica_lag_seconds gauge
backfleet_job_replica_lag_seconds{database="main",job_name="norm",replica="standby1"} 2.5
# HELP backfleet_job_replica_missing 1 while a replica that was there before is not.
# TYPE backfleet_job_replica_missing gauge
backfleet_job_replica_missing{database="main",job_name="norm",replica="standby1"} 0
backfleet_job_replica_missing{database="main",job_name="norm",replica="standby2"} 1
# HELP backfleet_job_rows_written_total Rows written by committed batches.
# TYPE backfleet_job_rows_written_total counter
backfleet_job_rows_written_total{database="main",job_name="norm"} 1200
# HELP backfleet_job_state 1 for the state that the job is in.
# TYPE backfleet_job_state gauge
backfleet_job_state{database="main",job_name="norm",state="running"} 1
# HELP backfleet_job_stream_pending Messages of the job's consumer that no worker has yet.
# TYPE backfleet_job_stream_pending gauge
backfleet_job_stream_pending{database="main",job_name="norm"} 2
# HELP backfleet_jobs_scrape_error 1 when a ledger could not be read for this scrape; its jobs are missing.
# TYPE backfleet_jobs_scrape_error gauge
backfleet_jobs_scrape_error 0
`), "backfleet_job_eta_low_seconds", "backfleet_job_eta_high_seconds", "backfleet_job_limiting", "backfleet_job_lost_seconds_total",
		"backfleet_job_held", "backfleet_job_ranges_open", "backfleet_job_replica_lag_seconds", "backfleet_job_replica_missing", "backfleet_job_rows_written_total",
		"backfleet_job_state", "backfleet_job_stream_pending", "backfleet_jobs_scrape_error"))

	n, err := testutil.GatherAndCount(r, "backfleet_build_info")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestReplicaLabelsAreBounded(t *testing.T) {
	lag := map[string]job.Lag{}
	for i := range 3 * maxReplicas {
		lag[strings.Repeat("r", i+1)] = job.Lag{Seconds: float64(i)}
	}
	names := mostLagging(lag)
	require.Len(t, names, maxReplicas)
	require.Len(t, names[0], 3*maxReplicas, "the most lagging first")
}

func TestSignalMetrics(t *testing.T) {
	r := NewRegistry()
	require.NoError(t, r.Register(Signals(func() map[string]Readings {
		at, none, seven := time.Now(), 0, 7
		return map[string]Readings{"held": {Wanted: &none}, "elsewhere": {}, "main": {
			Wanted:  &seven,
			Signals: []job.Signal{{Name: "slot_lost", Value: 1, At: at}, {Name: "slot_lost", At: at}, {Name: "gate", Error: "refused"}},
			Costs:   []job.ReadCost{{Source: "lag", Reads: 40, Seconds: 0.5}},
		}}
	})))
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP backfleet_signal_blind 1 where the last attempt to read a signal failed.
# TYPE backfleet_signal_blind gauge
backfleet_signal_blind{database="main",signal="gate"} 1
backfleet_signal_blind{database="main",signal="slot_lost"} 0
# HELP backfleet_signal_read_seconds_total Seconds that readings of a source took, on the server and on the way to it.
# TYPE backfleet_signal_read_seconds_total counter
backfleet_signal_read_seconds_total{database="main",source="lag"} 0.5
# HELP backfleet_signal_reads_total Readings of a source of signals since this coordinator leads.
# TYPE backfleet_signal_reads_total counter
backfleet_signal_reads_total{database="main",source="lag"} 40
# HELP backfleet_signal_value Last reading of a signal, in the unit that backfleet throttle show tells; absent where there was none.
# TYPE backfleet_signal_value gauge
backfleet_signal_value{database="main",signal="slot_lost"} 1
# HELP backfleet_wanted_slots Slots of workers that the database's jobs could use of its budget now; 0 while it is held. Scale the fleet by it. Absent where another coordinator leads.
# TYPE backfleet_wanted_slots gauge
backfleet_wanted_slots{database="held"} 0
backfleet_wanted_slots{database="main"} 7
`), "backfleet_wanted_slots", "backfleet_signal_value", "backfleet_signal_blind", "backfleet_signal_reads_total", "backfleet_signal_read_seconds_total"))
}

func TestFleetMetricsAreTheLeadersToTell(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	r := NewRegistry()
	require.NoError(t, r.Register(Fleets(func() map[string]*job.Fleet {
		return map[string]*job.Fleet{"other": nil, "main": {
			Epoch: 70001, Workers: 2, Slots: 8, HeldSince: at, Read: at.Add(time.Second),
			Stream: job.StreamCare{Compared: at, Missing: 3, Lost: 5, Expired: 1},
		}}
	})))
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP backfleet_held 1 while a hold stops every batch of the database.
# TYPE backfleet_held gauge
backfleet_held{database="main"} 1
# HELP backfleet_held_since_timestamp_seconds When that hold began; absent while there is none.
# TYPE backfleet_held_since_timestamp_seconds gauge
backfleet_held_since_timestamp_seconds{database="main"} 1.8e+09
# HELP backfleet_leader 1 where this coordinator leads the database, 0 where it stands by.
# TYPE backfleet_leader gauge
backfleet_leader{database="main"} 1
backfleet_leader{database="other"} 0
# HELP backfleet_leader_epoch Epoch of this leadership; each change of leader raises it.
# TYPE backfleet_leader_epoch gauge
backfleet_leader_epoch{database="main"} 70001
# HELP backfleet_slots Slots of those workers.
# TYPE backfleet_slots gauge
backfleet_slots{database="main"} 8
# HELP backfleet_stream_lost_messages_total Ranges that went out anew because their message was not in the stream, since this coordinator leads.
# TYPE backfleet_stream_lost_messages_total counter
backfleet_stream_lost_messages_total{database="main"} 5
# HELP backfleet_stream_missing_messages Released ranges whose message that comparison did not find in the stream.
# TYPE backfleet_stream_missing_messages gauge
backfleet_stream_missing_messages{database="main"} 3
`), "backfleet_held", "backfleet_held_since_timestamp_seconds", "backfleet_leader", "backfleet_leader_epoch", "backfleet_slots",
		"backfleet_stream_lost_messages_total", "backfleet_stream_missing_messages"))
}

func TestWorkerMetrics(t *testing.T) {
	r := NewRegistry()
	require.NoError(t, r.Register(ThisWorker(func() job.WorkerView {
		return job.WorkerView{Slots: 4, Busy: 3, Databases: map[string]job.WorkerIn{
			"main":  {Work: job.Work{Rows: 1200, Batches: 3, Seconds: 0.5}, Reachable: true, Budget: time.UnixMilli(1_800_000_000_250)},
			"other": {},
		}}
	})))
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP backfleet_worker_batch_seconds_total Seconds of SQL time that those batches took.
# TYPE backfleet_worker_batch_seconds_total counter
backfleet_worker_batch_seconds_total{database="main"} 0.5
backfleet_worker_batch_seconds_total{database="other"} 0
# HELP backfleet_worker_budget_timestamp_seconds When the last budget was heard; no batch starts 3 s later. Absent before the first.
# TYPE backfleet_worker_budget_timestamp_seconds gauge
backfleet_worker_budget_timestamp_seconds{database="main"} 1.80000000025e+09
# HELP backfleet_worker_database_reachable 1 where the database answers this worker.
# TYPE backfleet_worker_database_reachable gauge
backfleet_worker_database_reachable{database="main"} 1
backfleet_worker_database_reachable{database="other"} 0
# HELP backfleet_worker_slots_busy Ranges that it carries now.
# TYPE backfleet_worker_slots_busy gauge
backfleet_worker_slots_busy 3
`), "backfleet_worker_batch_seconds_total", "backfleet_worker_budget_timestamp_seconds", "backfleet_worker_database_reachable",
		"backfleet_worker_slots_busy"))
}
