package store

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/flag"
)

// setFlag sets a flag in a transaction of its own.
func setFlag(t *testing.T, s *Store, name string, percent int, by string) (old, now flag.Flag) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) (err error) {
		old, now, err = s.SetFlag(t.Context(), tx, name, percent, by)
		return err
	}))
	return old, now
}

func TestAFlagIsSetStepByStep(t *testing.T) {
	sc := submitted(t, 1)
	f, known, err := sc.s.Flag(t.Context(), "norm")
	require.NoError(t, err)
	require.False(t, known)
	require.Equal(t, flag.Flag{Name: "norm"}, f)

	old, one := setFlag(t, sc.s, "norm", 1, "ann")
	require.Equal(t, [2]int{0, 1}, [2]int{old.Percent, one.Percent})
	e := sc.lastEvent()
	require.Equal(t, [2]string{"flag", "ann"}, [2]string{e.Action, e.By})
	require.Equal(t, map[string]any{"flag": "norm", "old": 0.0, "new": 1.0}, e.Detail)
	_, same := setFlag(t, sc.s, "norm", 1, "bob")
	require.Equal(t, one, same, "what changes nothing is nobody's")
	require.Equal(t, "ann", sc.lastEvent().By)
	old, ten := setFlag(t, sc.s, "norm", 10, "bob")
	require.Equal(t, one, old)
	require.Equal(t, [2]any{one.Revision + 1, "bob"}, [2]any{ten.Revision, ten.By})
	require.True(t, ten.Since.After(one.Since))

	all, err := sc.s.Flags(t.Context())
	require.NoError(t, err)
	require.Equal(t, []flag.Flag{ten}, all)

	// A step from an older view, and one that is none, leave it.
	tx := sc.begin()
	var stale *RevisionError
	_, _, err = sc.s.If(one.Revision).SetFlag(t.Context(), tx, "norm", 100, "cid")
	require.ErrorAs(t, err, &stale)
	_, _, err = sc.s.SetFlag(t.Context(), tx, "norm", 50, "cid")
	require.ErrorContains(t, err, "is no step of the ramp")
	require.NoError(t, tx.Rollback(t.Context()))
	f, known, err = sc.s.Flag(t.Context(), "norm")
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, ten, f)
}

// The database and Go decide alike, which is all that keeps an application that asks both from changing its mind.
func TestTheDatabaseDecidesAsGoDoes(t *testing.T) {
	s := migrated(t)
	raw, err := os.ReadFile("../flag/testdata/vectors.json")
	require.NoError(t, err)
	var vectors []struct {
		Name, Key string
		Bucket    int
	}
	require.NoError(t, json.Unmarshal(raw, &vectors))
	for _, v := range vectors {
		var got int
		require.NoError(t, s.pool.QueryRow(t.Context(), "select backfleet.flag_bucket($1, $2)", v.Name, v.Key).Scan(&got))
		require.Equal(t, v.Bucket, got, "%q %q", v.Name, v.Key)
	}
	for _, percent := range flag.Percents {
		_, f := setFlag(t, s, "norm", percent, "ann")
		f.Name, f.Percent = "norm", percent // 0 is what it has before it is set
		rows, err := s.pool.Query(t.Context(), "select i::text, backfleet.flag('norm', i::text) from generate_series(1, 2000) i")
		require.NoError(t, err)
		var key string
		var on bool
		n := 0
		_, err = pgx.ForEachRow(rows, []any{&key, &on}, func() error {
			require.Equal(t, f.On(key), on, "key %s at %d %%", key, percent)
			n++
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 2000, n)
	}
	for _, c := range []struct {
		what, sql string
		want      bool
	}{
		{"a flag that is not there", "select backfleet.flag('nothing', '1')", false},
		{"no flag", "select backfleet.flag(null, '1')", false},
		{"no key, at the end of the ramp", "select backfleet.flag('norm', null)", true},
	} {
		var on bool
		require.NoError(t, s.pool.QueryRow(t.Context(), c.sql).Scan(&on))
		require.Equal(t, c.want, on, c.what)
	}
	setFlag(t, s, "norm", 10, "ann")
	var on bool
	require.NoError(t, s.pool.QueryRow(t.Context(), "select backfleet.flag('norm', null)").Scan(&on))
	require.False(t, on, "no key, in the middle of it")
}

// An application's role needs one grant; with it, it learns nothing else of the ledger, and no search_path leads it astray.
func TestAnApplicationNeedsOneGrant(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	setFlag(t, s, "norm", 100, "ann")
	conn, err := s.pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	run := func(sql string) error {
		_, err := conn.Exec(ctx, sql)
		return err
	}
	role := `we"ird; drop table x` + strconv.Itoa(int(conn.Conn().PgConn().PID())) // roles are the whole cluster's
	quoted := pgx.Identifier{role}.Sanitize()
	require.NoError(t, run("create role "+quoted))
	defer func() {
		require.NoError(t, run("reset role"))
		require.NoError(t, run("drop owned by "+quoted))
		require.NoError(t, run("drop role "+quoted))
	}()
	require.NoError(t, run("set role "+quoted))
	require.ErrorContains(t, run("select backfleet.flag('norm', '1')"), "permission denied for schema")
	require.NoError(t, run("reset role"))
	require.NoError(t, run(FlagGrants(role)))
	require.NoError(t, run(`create schema evil; grant usage on schema evil to `+quoted+`;
		create function evil.sha256(bytea) returns bytea language sql as 'select 1/0; select ''''::bytea';
		create function evil.coalesced(boolean, boolean) returns boolean language sql as 'select 1/0 > 0';
		create operator evil.< (leftarg = int, rightarg = int, function = int4gt)`))
	require.NoError(t, run("set role "+quoted))
	require.NoError(t, run("set search_path = evil, pg_catalog"))
	var on bool
	require.NoError(t, conn.QueryRow(ctx, "select backfleet.flag('norm', '1')").Scan(&on))
	require.True(t, on)
	require.NoError(t, run("set search_path = pg_catalog"))
	for _, sql := range []string{
		"select by from backfleet.flags", "select * from backfleet.jobs", "select * from backfleet.rehearsals", "select backfleet.hold('1s')",
		"update backfleet.flags set percent = 0", "delete from backfleet.flags",
	} {
		require.ErrorContains(t, run(sql), "permission denied", sql)
	}
}
