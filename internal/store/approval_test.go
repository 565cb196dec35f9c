package store

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestAJobAwaitsASecondPerson(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	require.NoError(t, s.SetApproval(ctx, "dba", true))
	events, err := s.DatabaseEvents(ctx, 0, "approval", 10)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"old": false, "new": true}, events[0].Detail)

	n := newJob(counterSpec())
	var unknown *UnknownPersonError
	_, err = s.Submit(ctx, "olga", n)
	require.ErrorAs(t, err, &unknown, "who submits by the process's token could approve by their own")
	_, err = s.Find(ctx, n.Spec.Name)
	require.ErrorIs(t, err, ErrNotFound)
	n.As, n.Plan, n.PlanHash = "olga", map[string]int{"ranges": 3}, "h1"
	j, err := s.Submit(ctx, "olga", n)
	require.NoError(t, err)
	require.Equal(t, job.AwaitingApproval, j.State)
	plan, err := s.Plan(ctx, j.ID)
	require.NoError(t, err)
	require.JSONEq(t, `{"ranges":3}`, string(plan))

	var same *SamePersonError
	_, err = s.Approve(ctx, j.ID, "olga", "olga", "h1")
	require.ErrorAs(t, err, &same)
	var changed *PlanChangedError
	for _, hash := range []string{"h2", ""} {
		_, err = s.Approve(ctx, j.ID, "ann", "ann", hash)
		require.ErrorAs(t, err, &changed)
	}
	var state *StateError
	_, err = s.SetLimits(ctx, j.ID, "ann", j.Limits, 0)
	require.ErrorAs(t, err, &state, "what is to be approved does not change")
	_, err = s.Pause(ctx, j.ID, "ann", "")
	require.NoError(t, err)
	_, err = s.Approve(ctx, j.ID, "ann", "ann", "h1")
	require.ErrorAs(t, err, &state)
	_, err = s.SetLimits(ctx, j.ID, "ann", j.Limits, 0)
	require.ErrorAs(t, err, &state)
	back, err := s.Resume(ctx, j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, job.AwaitingApproval, back.State, "a pause is no way around it")
	res, err := s.Retry(ctx, j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, job.AwaitingApproval, res.State, "nor is a retry")

	j, err = s.Approve(ctx, j.ID, "ann", "ann", "h1")
	require.NoError(t, err)
	require.Equal(t, job.Planning, j.State)
	require.Equal(t, "ann", j.ApprovedAs)
	require.False(t, j.Approved.IsZero())
	events, err = s.EventsBefore(ctx, j.ID, 0, "approve", 1)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"old": "awaiting_approval", "new": "planning", "plan_hash": "h1", "as": "ann"}, events[0].Detail)
	_, err = s.Approve(ctx, j.ID, "bob", "bob", "h1")
	require.ErrorAs(t, err, &state)
}

// The release before stores a job as it always did; the ledger itself refuses that where an approval is asked.
func TestAnOlderProgramIsNoWayAroundAnApproval(t *testing.T) {
	s := migrated(t)
	insert := `insert into backfleet.jobs (id, name, database, spec, spec_hash, limits, state, key_columns, idempotent, search_path, estimate, estimate_by, submitted_by)
		values ('01J', 'old', 'main', '{}', '', '{}', 'planning', '[]', true, '', 1, '', 'ann')`
	require.NoError(t, s.SetApproval(t.Context(), "dba", true))
	_, err := s.pool.Exec(t.Context(), insert)
	require.ErrorContains(t, err, "needs an approval")
	require.NoError(t, s.SetApproval(t.Context(), "dba", false))
	_, err = s.pool.Exec(t.Context(), insert)
	require.NoError(t, err)
}

// An upgrade asks nobody for new grants, and the fleet's role cannot change what the ledger's owner asks.
func TestAnUpgradeGrantsWhatIsNew(t *testing.T) {
	db := migrated(t)
	ctx := t.Context()
	exec := func(sql string) {
		_, err := db.pool.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
	exec(`drop schema backfleet cascade`)
	name := "fleet_of_" + db.pool.Config().ConnConfig.Database
	exec(`create role "` + name + `"`)
	t.Cleanup(func() {
		_, _ = db.pool.Exec(context.Background(), `drop owned by "`+name+`"`)
		_, _ = db.pool.Exec(context.Background(), `drop role "`+name+`"`)
	})
	exec(`create schema backfleet`)
	for _, file := range []string{"0001_ledger", "0002_fill"} {
		script, err := sqlFiles.ReadFile("sql/migrations/" + file + ".sql")
		require.NoError(t, err)
		exec(string(script))
	}
	exec(`create table backfleet.schema_version (version int primary key, applied_at timestamptz not null default clock_timestamp()); insert into backfleet.schema_version values (1), (2)`)
	exec(`grant select, insert, update, delete on all tables in schema backfleet to "` + name + `"`)
	from, to, err := db.Migrate(ctx)
	require.NoError(t, err)
	all, err := migrations()
	require.NoError(t, err)
	require.Equal(t, [2]int{2, len(all)}, [2]int{from, to})
	for table, want := range map[string]bool{"requests": true, "notices": true, "policy": false} {
		var may, reads bool
		require.NoError(t, db.pool.QueryRow(ctx, `select has_table_privilege($1, 'backfleet.'||$2, 'insert, update'), has_table_privilege($1, 'backfleet.'||$2, 'select')`, name, table).Scan(&may, &reads))
		require.Equal(t, want, may, table)
		require.True(t, reads, table)
	}
}
