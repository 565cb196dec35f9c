package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
)

func TestReplicasOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(file, []byte("postgres://b@s2/app\n"), 0o600))
	environ := []string{
		"BACKFLEET_DATABASE_MAIN=postgres://b@p/app", "BACKFLEET_DATABASE_OTHER_DB=postgres://b@p/other",
		"BACKFLEET_REPLICA_MAIN__STANDBY1=postgres://b@s1/app", "BACKFLEET_REPLICA_MAIN__Far_Away_FILE=" + file,
		"BACKFLEET_REPLICA_OTHER_DB__STANDBY1=postgres://b@s1/other", "HOME=/root",
	}
	databases, err := postgres.Databases(environ)
	require.NoError(t, err)
	require.Len(t, databases, 2, "a replica is no database")
	replicas, err := postgres.Replicas(environ, databases)
	require.NoError(t, err)
	require.Len(t, replicas, 2)
	require.Equal(t, "BACKFLEET_REPLICA_MAIN__STANDBY1", replicas["main"]["standby1"].Variable)
	require.Equal(t, "BACKFLEET_REPLICA_MAIN__Far_Away_FILE", replicas["main"]["far-away"].Variable)
	require.Equal(t, "BACKFLEET_REPLICA_OTHER_DB__STANDBY1", replicas["other-db"]["standby1"].Variable)
}

func TestReplicasThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		says    string
	}{
		"unknown database": {[]string{"BACKFLEET_REPLICA_MIAN__S1=postgres://b:c4n4ry@s1/app"},
			`BACKFLEET_REPLICA_MIAN__S1: replica "s1": database "mian": no DSN for it (known: main); set BACKFLEET_DATABASE_MIAN to one`},
		"no name": {[]string{"BACKFLEET_REPLICA_MAIN=postgres://b:c4n4ry@s1/app"},
			"BACKFLEET_REPLICA_MAIN: does not say which replica of which database; write BACKFLEET_REPLICA_<DATABASE>__<NAME>"},
		"empty name": {[]string{"BACKFLEET_REPLICA_MAIN__=postgres://b:c4n4ry@s1/app"}, "does not say which replica"},
		"empty":      {[]string{"BACKFLEET_REPLICA_MAIN__S1="}, "BACKFLEET_REPLICA_MAIN__S1: is empty; give it a DSN"},
		"twice": {[]string{"BACKFLEET_REPLICA_MAIN__S_1=postgres://b@s1/app", "BACKFLEET_REPLICA_main__s_1=postgres://b:c4n4ry@s1/app"},
			`replica "s-1" of database "main" is also given by BACKFLEET_REPLICA_MAIN__S_1; keep one`},
		"no DSN": {[]string{"BACKFLEET_REPLICA_MAIN__S1=postgres://b:c4n4ry@s1:port/app"},
			`replica "s1" of database "main": BACKFLEET_REPLICA_MAIN__S1 is not a DSN that can be read`},
		"no file": {[]string{"BACKFLEET_REPLICA_MAIN__S1_FILE=/nowhere/dsn"}, "BACKFLEET_REPLICA_MAIN__S1_FILE: cannot read the file it names"},
	} {
		t.Run(name, func(t *testing.T) {
			databases, err := postgres.Databases([]string{"BACKFLEET_DATABASE_MAIN=postgres://b@p/app"})
			require.NoError(t, err)
			_, err = postgres.Replicas(c.environ, databases)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "c4n4ry")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestConnectTellsNoSecret(t *testing.T) {
	_, err := postgres.Connect(t.Context(), `replica "s1"`, postgres.SourceOf("postgres://b:c4n4ry@127.0.0.1:1/app"), "test")
	require.ErrorContains(t, err, `replica "s1": cannot connect: `)
	require.NotContains(t, err.Error(), "c4n4ry")
}
