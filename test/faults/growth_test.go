package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A coordinator that is killed while it vacuums the table, and another killed while it holds the snapshot of the proof, leave nothing
// behind: the next keeps the table within its bound, and begins the proof anew.
func TestKillCoordinatorInVacuumAndInProof(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 300_000, perRange: perRange, passes: 1, more: "  max_growth: 1.3\n"})
	f.exec("ALTER TABLE public.accounts SET (autovacuum_enabled = false, fillfactor = 100)")
	f.exec("VACUUM FULL public.accounts")
	f.nats = harness.NATS(t)
	f.must("db", "init")
	for _, sql := range heldProof {
		f.exec(sql)
	}
	first := f.coordinator()
	f.awaitLeader(nil)
	f.worker(2)
	f.must("submit", f.file)
	f.awaitSQL("a vacuum of ours is under way, or has been", `SELECT EXISTS (SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = 'public.accounts'::regclass)
		OR EXISTS (SELECT 1 FROM pg_stat_user_tables WHERE relid = 'public.accounts'::regclass AND vacuum_count > 1)`)
	require.NoError(t, first.Kill())
	killed := time.Now()
	second := f.coordinator()
	f.awaitLeader(first)
	f.awaitSQL("the verification is under way", "SELECT state = 'verifying' FROM backfleet.jobs")
	filled := time.Since(killed)
	f.awaitSQL("the snapshot is held", "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name LIKE 'backfleet proof of%' AND datname = current_database()")
	require.NoError(t, second.Kill())
	f.coordinator()
	f.awaitLeader(second)
	f.awaitSQL("the round begins anew", "SELECT verify_round = 2 FROM backfleet.jobs")
	f.exec("SELECT backfleet.release()")
	var growth float64
	f.awaitSQL("the job is complete", "SELECT state = 'complete' FROM backfleet.jobs")
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT pg_relation_size('public.accounts')::float8 / size FROM backfleet.relations").Scan(&growth))
	// Nobody watches the bound while there is no leader: the worker goes on for the three seconds that its budget lives, at a rate that fits. Each of
	// three leaders may go beyond the bound by twice a fiftieth of the room.
	require.LessOrEqual(t, growth, 1.3+3*2*0.02*0.3)
	var wrong int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM public.accounts WHERE counter <> 1").Scan(&wrong))
	require.Zero(t, wrong)
	t.Logf("growth %.3f, filled %s after the kill", growth, short(filled))
}
