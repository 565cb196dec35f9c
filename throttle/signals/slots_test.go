package signals_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// readSlots reads once and returns slot_retained and slot_lost.
func readSlots(t *testing.T, s *signals.Slots) (retained, lost throttle.Reading) {
	t.Helper()
	got := s.Read(t.Context())
	require.Len(t, got, 2)
	require.NoError(t, got[0].Err)
	require.NoError(t, got[1].Err)
	require.Equal(t, "slot_retained", got[0].Signal)
	require.Equal(t, "slot_lost", got[1].Signal)
	return got[0], got[1]
}

// fill writes about so many MiB of WAL.
func fill(t *testing.T, c *harness.Cluster, mib int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN("postgres"))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1048576)) FROM generate_series(1, $1::int)", mib)
	require.NoError(t, err)
}

func TestSlotWithoutConsumerKeepsWALUntilItIsLost(t *testing.T) {
	c := harness.Postgres(t, harness.WithSetting("max_slot_wal_keep_size", "256MB"), harness.WithSetting("max_wal_size", "128MB"),
		harness.WithSetting("checkpoint_completion_target", "0"), harness.WithSetting("checkpoint_timeout", "1h"))
	pool := c.Pool(t, "postgres")
	s := signals.NewSlots(pool, nil)
	retained, lost := readSlots(t, s)
	require.Zero(t, retained.Value, "there is no slot")
	require.Zero(t, lost.Value)

	c.Exec(t, "postgres", "SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')")
	fill(t, c, 16)
	retained, lost = readSlots(t, s)
	require.InDelta(t, 0.0625, retained.Value, 0.03)
	require.Regexp(t, `^slot cdc \(logical, no consumer\) keeps 1\d\.\d MiB of 256\.0 MiB \(max_slot_wal_keep_size\)$`, retained.Detail)
	require.Zero(t, lost.Value)

	fill(t, c, 176)
	c.Exec(t, "postgres", "CHECKPOINT")
	retained, lost = readSlots(t, s)
	require.InDelta(t, 0.75, retained.Value, 0.05)
	require.Equal(t, "extended", ask[string](t, c.DSN("postgres"), "SELECT wal_status FROM pg_replication_slots"))
	require.Zero(t, lost.Value, "what is kept beyond max_wal_size is kept")

	fill(t, c, 100) // no checkpoint by itself before 112 MiB
	retained, lost = readSlots(t, s)
	require.Greater(t, retained.Value, 1.0)
	require.Equal(t, 1.0, lost.Value)
	require.Equal(t, "slot cdc (logical, no consumer) is unreserved", lost.Detail)

	c.Exec(t, "postgres", "CHECKPOINT")
	retained, lost = readSlots(t, s)
	require.Zero(t, retained.Value, "it keeps nothing any more")
	require.Equal(t, 1.0, lost.Value)
	require.Equal(t, "slot cdc (logical, no consumer) is lost", lost.Detail)
}

// Without a limit in the server a slot may fill the disk. A standby that is away keeps WAL by its slot, too.
func TestSlotWithoutLimitIsMeasuredByTheFreeDisk(t *testing.T) {
	c := pair(t)
	require.NoError(t, c.Standbys[0].Stop())
	fill(t, c, 32)
	c.Exec(t, "postgres", "CHECKPOINT", "SELECT pg_create_physical_replication_slot('small', true)")
	pool := c.Pool(t, "postgres")

	retained, _ := readSlots(t, signals.NewSlots(pool, func() (float64, bool) { return 256 << 20, true }))
	require.InDelta(t, 0.125, retained.Value, 0.03)
	require.Regexp(t, `^slot standby1 \(physical, no consumer\) keeps 3\d\.\d MiB of 256\.0 MiB free disk$`, retained.Detail)

	for _, s := range []*signals.Slots{signals.NewSlots(pool, nil), signals.NewSlots(pool, func() (float64, bool) { return 0, false })} {
		retained, lost := readSlots(t, s)
		require.InDelta(t, float64(32<<20)/signals.DefaultSlotLimit, retained.Value, 1e-4)
		require.Contains(t, retained.Detail, "of 64.0 GiB (no max_slot_wal_keep_size, free disk not known)")
		require.Zero(t, lost.Value)
	}
}

func TestSlotsAreReadableWithoutPrivilege(t *testing.T) {
	db := harness.Database(t)
	role := "slots_" + db.Name
	exec(t, db.DSN, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { db.Cluster.Exec(t, "postgres", "DROP ROLE "+role) })
	conn, err := pgx.Connect(t.Context(), db.Cluster.Primary.DSNAs(role, db.Name))
	require.NoError(t, err)
	retained, _ := readSlots(t, signals.NewSlots(conn, nil))
	require.Contains(t, retained.Detail, "slot standby1 (physical) keeps ")

	require.NoError(t, conn.Close(t.Context()))
	for _, r := range signals.NewSlots(conn, nil).Read(t.Context()) {
		require.ErrorContains(t, r.Err, "read replication slots: ")
	}
}
