package signals_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// auroraStandIn has the name and the columns of Aurora's function that are read here, on a real PostgreSQL. It tests how the view is
// read, not Aurora.
const auroraStandIn = `
	CREATE TABLE instances (server_id text PRIMARY KEY, session_id text, durable_lsn bigint, replica_lag_in_msec float8,
	                        last_update_timestamp timestamptz);
	INSERT INTO instances VALUES ('db-1', 'MASTER_SESSION_ID', 1000, NULL, NULL),
	                             ('db-2', '5c1b1f6e', 900, 17, now()), ('db-3', '77aa01bc', 900, 21.5, now());
	CREATE FUNCTION aurora_replica_status() RETURNS SETOF instances LANGUAGE sql AS 'SELECT * FROM instances'`

func TestAuroraTellsOfItsReaders(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, auroraStandIn)
	ahead := time.Duration(0)
	l := signals.NewLag(db.Pool, func() time.Time { return time.Now().Add(ahead) }, 0)
	read := func() throttle.Sample {
		t.Helper()
		s := l.Read(t.Context())
		require.NoError(t, s.Err)
		return s
	}
	s := read()
	require.Len(t, s.Members, 2, "neither the writer nor a standby of this server")
	require.Equal(t, "db-2", s.Members[0].Name)
	require.Equal(t, "aurora", s.Members[0].State)
	require.InDelta(t, 0.017, s.Members[0].Lag, 1e-9)
	require.InDelta(t, 0.0215, s.Members[1].Lag, 1e-9)
	require.Equal(t, 1000.0, s.WALPos)
	require.NoError(t, l.Beat(t.Context()), "there is no heartbeat table, and no need of one")

	// A lag in time is the position where the writer stood then.
	ahead = time.Second
	exec(t, db.DSN, `UPDATE instances SET durable_lsn = 5000 WHERE server_id = 'db-1';
		UPDATE instances SET replica_lag_in_msec = 500, last_update_timestamp = clock_timestamp() WHERE server_id <> 'db-1'`)
	s = read()
	require.Equal(t, 5000.0, s.WALPos)
	require.InDelta(t, 3000, s.Members[0].Pos, 900, "half a second ago")
	require.Equal(t, s.WALPos-s.Members[0].Pos, s.Members[0].Bytes)

	// Only db-2 goes on to report.
	refresh := `UPDATE instances SET last_update_timestamp = clock_timestamp() WHERE server_id = 'db-2'`
	ahead += 5 * time.Second
	exec(t, db.DSN, refresh)
	s = read()
	require.InDelta(t, 0.5, s.Members[0].Lag, 1e-9)
	require.Greater(t, s.Members[1].Lag, 3.4, "its last word is 5 s old")
	ahead += 6 * time.Second
	exec(t, db.DSN, refresh)
	s = read()
	require.False(t, s.Members[0].Missing)
	require.True(t, s.Members[1].Missing, "it is still listed, but has said nothing for 11 s")

	exec(t, db.DSN, `UPDATE instances SET replica_lag_in_msec = NULL WHERE server_id = 'db-2'`)
	require.True(t, read().Members[0].Missing, "a lag that is not known is no lag of 0")
	exec(t, db.DSN, `UPDATE instances SET replica_lag_in_msec = 8, last_update_timestamp = clock_timestamp()`)
	s = read()
	require.False(t, s.Members[0].Missing || s.Members[1].Missing, "both are back")
	exec(t, db.DSN, `DELETE FROM instances WHERE server_id = 'db-3'`)
	require.True(t, read().Members[1].Missing)

	exec(t, db.DSN, `UPDATE instances SET session_id = CASE server_id WHEN 'db-2' THEN 'MASTER_SESSION_ID' ELSE 'a1b2' END,
		replica_lag_in_msec = CASE server_id WHEN 'db-1' THEN 4 END`)
	s = read()
	require.Len(t, s.Members, 1, "after a failover the members are learned anew")
	require.Equal(t, "db-1", s.Members[0].Name)

	exec(t, db.DSN, `DELETE FROM instances WHERE server_id = 'db-2'`)
	require.ErrorContains(t, l.Read(t.Context()).Err, "shows no writer")
}

// A server that only looks like Aurora, by a setting of that name, is read as PostgreSQL.
func TestAuroraIsToldByItsFunction(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE SCHEMA lookalike; CREATE VIEW lookalike.pg_settings AS SELECT 'apg_something' AS name")
	exec(t, db.DSN, "ALTER DATABASE "+db.Name+" SET search_path = lookalike, pg_catalog")
	db.Pool.Reset()
	s := signals.NewLag(db.Pool, time.Now, 0).Read(t.Context())
	require.NoError(t, s.Err)
	require.Len(t, s.Members, 1)
	require.Equal(t, "standby1", s.Members[0].Name)
}
