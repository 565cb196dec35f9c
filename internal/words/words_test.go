package words

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestFigures(t *testing.T) {
	for want, got := range map[string]string{
		"7,012,400": Count(7_012_400), "-1,000": Count(-1000), "999": Count(999),
		"1 row": Plural(1, "row"), "2 batches": Plural(2, "batch"), "0 batch retries": Plural(0, "batch retry"),
		"99.9 %": Percent(0.9999), "100.0 %": Percent(1),
		"512 B": Size(512), "1.5 KiB": Size(1536),
		"3d4h": Long(76 * time.Hour), "2h05m": Long(125 * time.Minute), "5m20s": Long(320 * time.Second), "350ms": Long(350 * time.Millisecond),
		"2h05m to 3h00m": Within(job.Duration(125*time.Minute), job.Duration(3*time.Hour)),
		"about 5m20s":    Within(job.Duration(320*time.Second), job.Duration(320*time.Second)),
		"at most 900ms":  Within(0, job.Duration(900*time.Millisecond)),
		"replica…":       Clip("replication", 8),
	} {
		require.Equal(t, want, got)
	}
}

func TestLags(t *testing.T) {
	all := map[string]job.Lag{"a": {Seconds: 0.2, Bytes: 2048}, "b": {Seconds: 3, Bytes: 4096, Missing: true}}
	require.Equal(t, "b missing, a 0.2 s (2.0 KiB)", Lags(all, true))
	require.Equal(t, "b missing, a 0.2 s", Lags(all, false))
}

func TestWhatLimitsAJob(t *testing.T) {
	for want, st := range map[string]job.Status{
		"held (stops every batch)":  {State: job.Running, Limiting: []job.Reason{{Text: "held", Hard: true}, {Text: "window"}}},
		"pause":                     {State: job.Paused},
		"planning":                  {State: job.Planning},
		"no worker carries a range": {State: job.Running},
		"nothing but the workers":   {State: job.Running, Workers: make([]job.WorkerOnJob, 1)},
	} {
		require.Equal(t, want, LimitedBy(st))
	}
	require.Equal(t, "throttle.replicas.a: unset → ignore", Change(job.Change{Path: "throttle.replicas.a", New: "ignore"}))
}
