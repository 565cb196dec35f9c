package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// migrated returns a ledger in a database of its own.
func migrated(t testing.TB) *Store {
	t.Helper()
	db := harness.Database(t)
	s := New(db.Pool, "main")
	from, to, err := s.Migrate(t.Context())
	require.NoError(t, err)
	scripts, err := migrations()
	require.NoError(t, err)
	require.Equal(t, [2]int{0, len(scripts)}, [2]int{from, to})
	return s
}

func TestEveryStatementPrepares(t *testing.T) {
	s := migrated(t)
	conn, err := s.pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for name, text := range queries {
		_, err := conn.Conn().Prepare(t.Context(), name, text)
		require.NoError(t, err, name)
	}
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	s := migrated(t)
	from, to, err := s.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, from, to)
	require.NoError(t, s.Ready(t.Context()))
}

func TestANewerLedgerIsRefused(t *testing.T) {
	s := migrated(t)
	_, err := s.pool.Exec(t.Context(), "insert into backfleet.schema_version (version, oldest_program) values (1000, 1000)")
	require.NoError(t, err)
	_, _, err = s.Migrate(t.Context())
	require.ErrorContains(t, err, "use a newer backfleet")
	require.ErrorContains(t, s.Ready(t.Context()), "cannot work with; use a newer backfleet")
}

// In a rolling upgrade the ledger is upgraded first: programs of before finish beside new ones where the ledger says that they may.
func TestANewerLedgerMaySayThatThisProgramCanGoOn(t *testing.T) {
	s := migrated(t)
	_, err := s.pool.Exec(t.Context(), "insert into backfleet.schema_version (version, oldest_program) values (1000, 2)")
	require.NoError(t, err)
	from, to, err := s.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, [2]int{1000, 1000}, [2]int{from, to})
	require.NoError(t, s.Ready(t.Context()))
}

func TestWithoutALedgerTheErrorNamesDBInit(t *testing.T) {
	db := harness.Database(t)
	s := New(db.Pool, "main")
	require.ErrorIs(t, s.Ready(t.Context()), ErrNoLedger)
	_, err := s.Jobs(t.Context())
	require.ErrorContains(t, err, "backfleet db init")
}
