package fleet

import (
	"context"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
)

// as is a DSN of the test's database for a role, with session parameters such as search_path.
func (f *fleet) as(role string, parameters ...string) string {
	f.Helper()
	u, err := url.Parse(f.db.DSN)
	require.NoError(f, err)
	if role != "" {
		u.User = url.User(role)
	}
	q := u.Query()
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// role makes a role that owns nothing, named after the test's database.
func (f *fleet) role() string {
	f.Helper()
	name := "fleet_" + f.db.Name
	f.exec("create role " + name + " login")
	f.Cleanup(func() {
		for _, sql := range []string{"drop owned by " + name, "drop role " + name} {
			if _, err := f.admin.Exec(context.Background(), sql); err != nil {
				f.Error(err)
			}
		}
	})
	return name
}

// workAs makes the fleet's sessions those of another DSN.
func (f *fleet) workAs(dsn string) {
	f.Helper()
	f.pool = f.open(dsn)
	f.store = store.New(f.pool, "main")
}

// The least privileges that `db grants` prints are enough for a whole job; less is refused before anything begins.
func TestTheLeastPrivilegesAreEnough(t *testing.T) {
	f := stage(t, partitions("revoke all on schema public from public")...)
	role := f.role()
	refused := func(hint string) {
		t.Helper()
		s, err := job.ParseSpec([]byte(partitionedSpec+"database: main"), "")
		require.NoError(t, err)
		_, err = preflight.Check(t.Context(), f.pool, s, preflight.Options{})
		require.ErrorContains(t, err, hint)
	}
	grants, err := f.store.Grants(t.Context(), role, "t")
	require.NoError(t, err)
	f.workAs(f.as(role))
	refused("GRANT pg_monitor")
	f.exec(grants)
	f.exec("revoke pg_monitor from " + role)
	refused("GRANT pg_monitor")
	f.exec("grant pg_monitor to " + role)
	f.exec("revoke update on cold.t_c from " + role)
	refused("GRANT")
	f.exec(grants)

	f.start()
	j := f.submit(partitionedSpec)
	f.completes(j)
	f.once()
	_, err = f.store.RequestVerify(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	f.completes(j)
	_, err = f.pool.Exec(t.Context(), "delete from t")
	require.ErrorContains(t, err, "permission denied")
}

// Invariant 5: a row security policy that comes in mid-run errors instead of hiding rows: the job pauses, and says why.
func TestRowSecurityNeverHidesRows(t *testing.T) {
	f := stage(t, counter(3000)...)
	role := f.role()
	grants, err := f.store.Grants(t.Context(), role, "t")
	require.NoError(t, err)
	f.exec(grants)
	f.workAs(f.as(role))
	f.start()
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 500}")
	f.until("it is under way", func() bool { return f.status(j).Rows > 0 })
	f.exec("create policy half on t using (id % 2 = 0)")
	f.exec("alter table t enable row level security")
	st := f.reaches(j, job.Paused)
	require.Contains(t, st.Reason, "row-level security")
	f.until("every range is handed back", func() bool { return len(f.status(j).Workers) == 0 })

	f.exec("alter role " + role + " bypassrls")
	limits := j.Limits
	limits.Throttle.MaxRowsPerSecond = 0
	_, err = f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	f.completes(j)
	f.once()
}

// A trigger may tell a backfill from the application: backfleet.job names the job in each of its transactions.
func TestATriggerMaySeeTheJob(t *testing.T) {
	f := started(t, append(counter(2000),
		"alter table t add column updated_at timestamptz, add column seen text",
		`create function touch() returns trigger language plpgsql as $$begin
			new.seen := current_setting('backfleet.job', true);
			if coalesce(current_setting('backfleet.job', true), '') = '' then new.updated_at := now(); end if;
			return new; end$$`,
		"create trigger touch before update on t for each row execute function touch()")...)
	f.completes(f.submit(counterSpec))
	require.Zero(t, f.number("select count(*) from t where updated_at is not null or seen <> 'count'"))
	f.exec("update t set id = id where id = 1")
	require.Equal(t, 1, f.number("select count(*) from t where updated_at is not null"))
}

// Invariant 5: names in a job's expressions mean what they meant at submit, and keys read as they did, whatever a session's own
// settings are.
func TestSettingsArePinned(t *testing.T) {
	f := stage(t,
		"create schema one", "create schema two",
		"create function one.norm(text) returns text immutable language sql as $$select lower($1)$$",
		"create function two.norm(text) returns text immutable language sql as $$select 'wrong'$$",
		"create table t (at timestamptz, f text, v text, n int not null default 0, primary key (at, f))",
		"insert into t select '2024-01-01'::timestamptz + i * interval '1.000001 hours', 'F' || i from generate_series(1, 2000) i", "analyze t")
	j := f.submitOn(f.open(f.as("", "search_path", "one,public")), `
name: norm
table: t
set: {v: norm(f), n: n + 1}
check: v = norm(f) and n = 1
late_rows: ignore
rows_per_range: 300
`)
	f.workAs(f.as("", "search_path", "two,public", "datestyle", "German", "timezone", "Asia/Kolkata", "intervalstyle", "sql_standard",
		"extra_float_digits", "-5", "default_transaction_isolation", "serializable", "default_transaction_read_only", "on"))
	f.start()
	f.completes(j)
	require.Zero(t, f.number("select count(*) from t where v <> lower(f) or n <> 1"))
}
