package main

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/bench/compare"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// The comparison's trials on a tiny table: each method fills every row, by its own count and by the table's, writes none twice, and every
// meter moves. A trial that did otherwise would be an error.
func TestEachTrialFillsItsTable(t *testing.T) {
	ctx := context.Background()
	o, err := parse([]string{"-parts", "compare", "-compare-rows", "6000", "-calm", "0s", "-out", t.TempDir()})
	require.NoError(t, err)
	b, err := newBench(o)
	require.NoError(t, err)
	t.Cleanup(b.close)
	require.NoError(t, b.buildPeers())
	scenes := b.scenes()
	s := scenes[slices.IndexFunc(scenes, func(s scene) bool { return s.name == compare.Quiet && s.table == compare.Indexed })]
	for _, m := range []method{monolithicPeer, scriptPeer, pgrollPeer, gitlabPeer, ctePeer, twoWorkers} {
		r, err := b.try(ctx, s, m)
		require.NoError(t, err, m.name)
		require.EqualValues(t, s.of.rows, r.Done, m.name)
		require.GreaterOrEqual(t, r.Updates, r.Done, m.name)
		require.Positive(t, r.Seconds, m.name)
		require.Positive(t, r.WAL, m.name)
		require.Positive(t, r.CPU.Server, m.name)
		require.Positive(t, r.CPU.Client, m.name)
		require.Greater(t, r.Heap.After, r.Heap.Before, m.name)
		b.run.Add(r)
	}
	require.NotEmpty(t, b.run.Pgroll)
	require.NoError(t, b.keep())
	again, err := b.kept()
	require.NoError(t, err)
	require.Equal(t, b.run, again, "what is kept is gone on with")
}

// Every table of the comparison can be made, its key is unique, and rows have what is asked for.
func TestTablesAreWhatTheirNamesSay(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), harness.Database(t).DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	number := func(sql string) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&n), sql)
		return n
	}
	b := &bench{options: options{compareRows: 1200}}
	for _, s := range b.scenes() {
		for _, sql := range append([]string{"DROP TABLE IF EXISTS users"}, s.of.statements()...) {
			_, err := conn.Exec(t.Context(), sql)
			require.NoError(t, err, s.table)
		}
		require.Equal(t, s.of.rows, number("SELECT count(*) FROM users WHERE "+where), s.table)
		indexes := 1
		if s.of.indexed {
			indexes = 4
		}
		require.Equal(t, indexes, number("SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass"), s.table)
		switch s.table {
		case compare.Filled:
			require.Equal(t, 1, number("SELECT count(*) FROM pg_class WHERE relname = 'users' AND reloptions = '{fillfactor=90}'"))
		case compare.Composite:
			require.Equal(t, 2, number("SELECT indnkeyatts FROM pg_index WHERE indrelid = 'users'::regclass"))
		case compare.Wide:
			require.GreaterOrEqual(t, number("SELECT pg_relation_size(reltoastrelid)::int FROM pg_class WHERE relname = 'users'"), s.of.rows*2000)
		case compare.Gappy:
			require.Equal(t, s.of.rows/10, number("SELECT count(*) FROM users WHERE id > 1000000000"))
		}
	}
}

func TestScenesAreChosenByNameOrByTable(t *testing.T) {
	b := &bench{options: options{compareRows: 1200}}
	count := func(only ...string) (n int) {
		for _, s := range b.scenes() {
			if s.wanted(only) {
				n++
			}
		}
		return n
	}
	for want, only := range map[int][]string{10: nil, 7: {"quiet"}, 3: {"indexed"}, 1: {"both/indexed"}, 2: {"quiet/wide", "application/plain"}, 0: {"loud"}} {
		require.Equal(t, want, count(only...), fmt.Sprint(only))
	}
}
