package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// gate answers as the coordinator that leads database main.
type gate struct {
	reason *job.Reason // nil: go
	deaf   bool        // its last decision is too old
}

func (g *gate) Signals(string) []job.Signal {
	return []job.Signal{{Name: "autovacuum", Value: 1, Detail: "public.users: scanning heap"}, {Name: "hot_ratio", Value: 0.58}}
}

func (g *gate) Costs(string) []job.ReadCost {
	return []job.ReadCost{{Source: "lag", Reads: 20, Seconds: 0.25}}
}

func (g *gate) Wanted(database string) (int, bool) { return 5, database == "main" && !g.deaf }

func (g *gate) Fleet(database string) (job.Fleet, bool) {
	return job.Fleet{Epoch: 7, Workers: 2, Slots: 8}, database == "main"
}

func (g *gate) Go(database string) (bool, job.Reason, bool) {
	if database != "main" || g.deaf {
		return false, job.Reason{}, false
	}
	if g.reason != nil {
		return false, *g.reason, true
	}
	return true, job.Reason{}, true
}

func TestTheThrottleOfADatabaseIsSetOverARival(t *testing.T) {
	b := setup(t)
	b.main.rivals = 2
	got, err := b.client.SetThrottle(t.Context(), "main", map[string]string{"max_wal_bytes_per_second": "20MiB"})
	require.NoError(t, err)
	require.Equal(t, []job.Change{{Path: "max_wal_bytes_per_second", Old: "0", New: "20MiB"}}, got.Changes)
	require.Equal(t, job.DatabaseRules{MaxRowsPerSecond: 77, MaxWALBytesPerSecond: 20 << 20}, got.Rules, "the rival's change stays")
	require.Equal(t, "throttle set", b.main.last().Action)
	require.Equal(t, "ann@host", b.main.last().By)

	_, err = b.client.SetThrottle(t.Context(), "main", map[string]string{"max_rows": "1", "max_wal_bytes_per_second": "-1"})
	p := problem(t, err, Refused)
	require.Equal(t, `max_rows: is not a setting that can change; did you mean "max_rows_per_second"?`+"\n"+
		`max_wal_bytes_per_second: "-1" is not a number of bytes; write it with its unit, from 8KiB to 1TiB, or 0 for no cap`, p.Error())
	b.main.rivals = limitTries
	_, err = b.client.SetThrottle(t.Context(), "main", map[string]string{"max_rows_per_second": "9"})
	_ = problem(t, err, Conflict)
}

func TestAChangeOfLimitsIsVettedByTheDatabase(t *testing.T) {
	b := setup(t)
	b.main.warnings = []string{"throttle.checks[0]: check go is blind now"}
	submitted, err := b.client.Submit(t.Context(), []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	require.Equal(t, b.main.warnings, submitted.Warnings)
	checks := map[string]string{"throttle.checks": `[{name: q, sql: SELECT 1, soft: 5}]`}
	got, err := b.client.SetLimits(t.Context(), "norm", checks)
	require.NoError(t, err)
	require.Equal(t, b.main.warnings, got.Warnings)
	require.Equal(t, "SELECT 1", got.Job.Limits.Throttle.Checks[0].SQL)

	b.main.refusals = job.Refusals{{Field: "throttle.checks[0].sql", Value: "DELETE FROM t", Why: "writes"}}
	_, err = b.client.SetLimits(t.Context(), "norm", map[string]string{"throttle.checks": `[{name: q, sql: DELETE FROM t, soft: 5}]`})
	require.Equal(t, `throttle.checks[0].sql: "DELETE FROM t" writes`, problem(t, err, Refused).Error())
	require.Equal(t, "SELECT 1", b.main.jobs[0].Limits.Throttle.Checks[0].SQL, "nothing changed")
	b.main.refusals = nil

	// A check runs what its author wrote with the fleet's privileges: it takes the role that may submit a spec.
	for body, code := range map[string]int{
		`{"throttle.checks":"[{name: q, sql: SELECT 2, soft: 5}]"}`:                        403,
		`{"throttle.checks":"[{name: q, sql: SELECT 1, soft: 5}]"}`:                        200, // as it is
		`{"throttle.signals.autovacuum":"off","throttle.default_rate":"0.5"}`:              200,
		`{"throttle.windows":"[{cron: 0 22 * * *, tz: Europe/Berlin, for: 8h, rate: 1}]"}`: 200,
	} {
		have, _, answer := b.do(t, http.MethodPatch, "/v1/jobs/norm/limits", "op-token", body)
		require.Equal(t, code, have, "%s: %s", body, answer)
	}
}

func TestAnOverrideEndsByItself(t *testing.T) {
	b := setup(t)
	got, err := b.client.Override(t.Context(), "main", 0, time.Hour)
	require.NoError(t, err)
	require.Equal(t, &job.Override{Rate: 0, Until: time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC), By: "ann@host"}, got.Rules.Override)
	got, err = b.client.EndOverride(t.Context(), "main")
	require.NoError(t, err)
	require.Nil(t, got.Rules.Override)
	require.Equal(t, "throttle override end", b.main.last().Action)

	for body, code := range map[string]int{
		`{"rate":0.5}`: 422, `{"for":"10m"}`: 422, `{"rate":1.1,"for":"10m"}`: 422, `{"rate":-1,"for":"10m"}`: 422,
		`{"rate":0.5,"for":"0s"}`: 400, `{"rate":0.5,"for":"169h"}`: 400, `{"rate":0.5,"for":"10m"}`: 200,
	} {
		have, _, answer := b.do(t, http.MethodPut, "/v1/databases/main/throttle/override", "op-token", body)
		require.Equal(t, code, have, "%s: %s", body, answer)
	}
}

func TestWhatHoldsADatabase(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.server.Live = live{}
	got, err := b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	require.Nil(t, got.Go, "nobody here knows")
	require.Equal(t, "c1", got.Leader.Owner)
	require.Len(t, got.Jobs, 1)
	require.Equal(t, ScheduleNow{Rate: 1}, got.Jobs[0].Schedule)
	require.NotNil(t, got.Jobs[0].Limiting, "the leader's view")

	// Windows as of now, under an override, and the signals in force.
	b.server.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	_, err = b.client.SetLimits(t.Context(), "norm", map[string]string{
		"throttle.windows": `[{cron: 0 22 * * *, tz: Europe/Berlin, for: 8h, rate: 0.8}]`, "throttle.signals.autovacuum": "off",
		"throttle.checks": `[{name: queue, sql: SELECT 1, hard: 5, below: true}]`,
	})
	require.NoError(t, err)
	got, err = b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	closes := time.Date(2026, 1, 2, 5, 0, 0, 0, time.UTC)
	require.Equal(t, ScheduleNow{0.8, `window "0 22 * * *" Europe/Berlin for 8h: rate 0.8`, &closes}, got.Jobs[0].Schedule)
	rules := map[string]SignalInForce{}
	for _, r := range got.Signals {
		rules[r.Name] = r
	}
	five := 5.0
	require.Equal(t, SignalInForce{Name: "queue", Hard: &five, Below: true, Asks: "SQL: SELECT 1"}, rules["queue"])
	require.Contains(t, rules, "archive_queue")
	require.NotContains(t, rules, "autovacuum")
	_, err = b.client.Override(t.Context(), "main", 0.5, time.Hour)
	require.NoError(t, err)
	got, err = b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	require.InDelta(t, 0.5, got.Jobs[0].Schedule.Rate, 0)
	require.Contains(t, got.Jobs[0].Schedule.Why, "override by ann@host")

	g := &gate{}
	b.server.Gate = g
	got, err = b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	require.Equal(t, &Verdict{OK: true}, got.Go)
	shown := map[string]SignalInForce{}
	for _, s := range got.Signals {
		shown[s.Name] = s
	}
	require.InDelta(t, 1, shown["autovacuum"].Now.Value, 0, "read, although no rule of this job looks at it")
	require.Nil(t, shown["autovacuum"].Soft)
	require.InDelta(t, 0.58, shown["hot_ratio"].Now.Value, 0)
	require.Nil(t, shown["queue"].Now, "not read yet")
	g.reason = &job.Reason{Signal: "lag of standby1", Observed: 2.1, Threshold: 1, Text: "lag of standby1 2.1s over target 1s"}
	_, err = b.client.Hold(t.Context(), "main", time.Minute, "incident 4711")
	require.NoError(t, err)
	got, err = b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	require.Equal(t, &Verdict{Reason: g.reason}, got.Go)
	require.Equal(t, "incident 4711", got.Brake.Reason)
	require.Contains(t, got.Brake.Why().Text, "held by ann@host until 2026-01-02T03:05:05Z: incident 4711")
	_, err = b.client.Throttle(t.Context(), "prod")
	_ = problem(t, err, NotFound)
}

func TestACheckAnswersInFrenosConvention(t *testing.T) {
	b := setup(t)
	g := &gate{}
	lag := &job.Reason{Signal: "lag of standby1", Observed: 2.1, Threshold: 1, Text: "lag of standby1 2.1s over target 1s"}
	for _, c := range []struct {
		name, path string
		at         func()
		want       CheckAnswer
	}{
		{"go", "/check/gh-ost/postgresql/main", func() { b.server.Gate = g }, CheckAnswer{StatusCode: 200}},
		{"stop", "/check/gh-ost/postgresql/main", func() { g.reason = lag }, CheckAnswer{429, 2.1, 1, "lag of standby1 2.1s over target 1s"}},
		{"no such database", "/check/gh-ost/postgresql/prod", nil, CheckAnswer{404, 0, 0, `database: "prod" is not known here (known: main, audit)`}},
		{"no such store", "/check/gh-ost/mysql/main", nil, CheckAnswer{404, 0, 0, `type: "mysql" is not known; ask for postgresql or postgres`}},
		{"the decision is too old", "/check/x/postgres/main", func() { g.deaf = true }, CheckAnswer{500, 0, 0, "not known here: database main is led by c1; ask that coordinator"}},
		{"another leads", "/check/x/postgres/audit", nil, CheckAnswer{500, 0, 0, "not known here: database audit is led by c1; ask that coordinator"}},
		{"nobody leads", "/check/x/postgres/audit", func() { b.audit.orphan = true }, CheckAnswer{500, 0, 0, "not known: no coordinator leads database audit"}},
		{"nobody leads, and a hold stands", "/check/x/postgres/audit", func() {
			b.audit.brake = &job.Brake{Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), By: "olga"}
		}, CheckAnswer{429, 0, 0, "held by olga until 2026-01-02T03:04:05Z"}},
		{"the ledger does not answer", "/check/x/postgres/audit", func() { b.audit.down = Fail(Unavailable, errors.New("nobody there"), "") }, CheckAnswer{500, 0, 0, "nobody there"}},
	} {
		if c.at != nil {
			c.at()
		}
		code, kind, body := b.do(t, http.MethodGet, c.path, "view-token", "")
		require.Equal(t, c.want.StatusCode, code, "%s: %s", c.name, body)
		require.Equal(t, "application/json", kind, c.name)
		var have map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &have))
		require.Equal(t, map[string]any{"StatusCode": float64(c.want.StatusCode), "Value": c.want.Value, "Threshold": c.want.Threshold, "Message": c.want.Message}, have, c.name)
		head, _, nothing := b.do(t, http.MethodHead, c.path, "view-token", "")
		require.Equal(t, code, head, c.name)
		require.Empty(t, nothing)
	}
}

func TestACheckNeedsATokenUnlessItIsOpen(t *testing.T) {
	b := setup(t)
	b.server.Gate = &gate{}
	const path = "/check/gh-ost/postgresql/main"
	code, _, _ := b.do(t, http.MethodHead, path, "", "")
	require.Equal(t, http.StatusUnauthorized, code)
	b.server.OpenCheck = true
	code, _, _ = b.do(t, http.MethodHead, path, "", "")
	require.Equal(t, http.StatusOK, code)
	code, _, _ = b.do(t, http.MethodGet, "/v1/databases/main/throttle", "", "")
	require.Equal(t, http.StatusUnauthorized, code, "only the check is open")
	code, _, _ = b.do(t, http.MethodPost, path, "", "{}")
	require.Equal(t, http.StatusNotFound, code)
}

func TestMetricsShowTheSignalsAndWhatTheyCost(t *testing.T) {
	b := setup(t)
	b.server.Gate = &gate{}
	_, _, body := b.do(t, http.MethodGet, "/metrics", "", "")
	require.Contains(t, body, `backfleet_signal_blind{database="main",signal="autovacuum"} 0`)
	require.NotContains(t, body, `backfleet_signal_value{database="main",signal="autovacuum"}`, "it has no time, so it was never read")
	require.Contains(t, body, `backfleet_signal_reads_total{database="main",source="lag"} 20`)
	require.Contains(t, body, `backfleet_signal_read_seconds_total{database="main",source="lag"} 0.25`)
	require.Contains(t, body, `backfleet_wanted_slots{database="main"} 5`)
	b.server.Gate = &gate{deaf: true}
	_, _, body = b.do(t, http.MethodGet, "/metrics", "", "")
	require.NotContains(t, body, "backfleet_wanted_slots{", "nobody knows")
}

// The leader looks at the hold a few times a second; what the ledger says is newer.
func TestAHoldThatTheLeaderHasNotSeenYet(t *testing.T) {
	b := setup(t)
	b.server.Gate = &gate{}
	_, err := b.client.Hold(t.Context(), "main", time.Minute, "deploy")
	require.NoError(t, err)
	got, err := b.client.Throttle(t.Context(), "main")
	require.NoError(t, err)
	require.False(t, got.Go.OK)
	require.Contains(t, got.Go.Reason.Text, "deploy")
}
