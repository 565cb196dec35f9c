package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// openTable has 2000 rows that a job of openSpec closes.
func openTable(more ...string) []string {
	return append([]string{
		"create table t (id bigint primary key, open boolean, n int not null default 0)",
		"insert into t select i, true from generate_series(1, 2000) i",
		"analyze t",
	}, more...)
}

const openSpec = "name: close\ntable: t\nset: {open: 'false', n: n + 1}\nwhere: open\nrows_per_range: 200"

// inTheMiddle submits a job and runs change while one of its ranges cannot end and all others are done.
func (f *fleet) inTheMiddle(spec string, ranges int, change string) job.Job {
	f.Helper()
	release := f.lock("select from t where id = (select max(id) from t) for update")
	j := f.submit(spec)
	f.until("all ranges but one are done", func() bool { return f.done(j) == ranges-1 })
	f.exec(change)
	release()
	return j
}

// Invariant 8: verification finds rows that were made open again after their range was done, and repairs them.
func TestTheResidualIsRepaired(t *testing.T) {
	f := started(t, openTable()...)
	r := f.completes(f.inTheMiddle(openSpec, 10, "update t set open = true where id in (3, 700, 701)"))
	require.Equal(t, int64(3), r.Repaired)
	require.Equal(t, 3, r.Rounds, "one by blocks has found it, one by keys has repaired it, and one has proven that")
	require.Zero(t, *r.Residual)
	require.Nil(t, r.CheckFails)
	require.Zero(t, f.number("select count(*) from t where open or n <> case when id in (3, 700, 701) then 2 else 1 end"))
}

// Invariant 8: rows that reappear for ever end the job `failed`, by name.
func TestRowsThatReappearForEverFailTheJob(t *testing.T) {
	f := started(t, openTable(
		"create function reopen() returns trigger language plpgsql as 'begin new.open := true; return new; end'",
		"create trigger reopen before update on t for each row when (old.id in (42, 1999)) execute function reopen()")...)
	j := f.submit(openSpec)
	r := f.ends(j, job.Failed)
	require.False(t, r.Verified)
	require.Equal(t, 4, r.Rounds)
	require.Equal(t, int64(2), *r.Residual)
	require.Equal(t, []ranges.Key{{"42"}, {"1999"}}, r.Samples)
	require.Contains(t, r.Reason, "42, 1999")

	f.exec("drop trigger reopen on t")
	res, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, job.Running, res.State)
	f.completes(j)
	require.Zero(t, f.number("select count(*) from t where open"))
}

// Rows whose check fails are repaired where doing a row again is harmless.
func TestACheckThatFailsIsRepairedWhereThatIsHarmless(t *testing.T) {
	f := started(t,
		"create table t (id bigint primary key, w text, v text)",
		"insert into t select i, 'W' || i from generate_series(1, 2000) i", "analyze t")
	r := f.completes(f.inTheMiddle("name: low\ntable: t\nset: {v: lower(w)}\ncheck: v = lower(w)\nlate_rows: ignore\nrows_per_range: 200", 10,
		"update t set v = case id when 3 then 'wrong' end where id in (3, 4)"))
	require.Equal(t, int64(2), r.Repaired)
	require.Zero(t, *r.CheckFails)
	require.Nil(t, r.Residual)
	require.Zero(t, f.number("select count(*) from t where v is distinct from lower(w)"))
}

// Rows whose check fails end the job `failed`, by name, where doing them again could do them twice.
func TestACheckThatFailsIsNeverDoneTwice(t *testing.T) {
	f := started(t, counter(2000)...)
	r := f.ends(f.inTheMiddle("name: count\ntable: t\nset: {n: n + 1}\ncheck: n = 1\nlate_rows: ignore\nrows_per_range: 200", 10,
		"update t set n = 7 where id = 42"), job.Failed)
	require.Zero(t, r.Repaired)
	require.Equal(t, int64(1), *r.CheckFails)
	require.Equal(t, []ranges.Key{{"42"}}, r.Samples)
	require.Equal(t, 7, f.number("select n from t where id = 42"))
	require.Zero(t, f.number("select count(*) from t where n <> 1 and id <> 42"))
}

// Invariants 1 and 8: a job whose ledger has a gap is never complete, even where everything else is done.
func TestAGapInTheLedgerFailsTheJob(t *testing.T) {
	f := started(t, openTable()...)
	j := f.inTheMiddle(openSpec, 10, `with gone as (delete from backfleet.ranges where index = 4)
		update backfleet.ranges set state = 'skipped' where index = 7`)
	st := f.reaches(j, job.Failed)
	require.Contains(t, st.Reason, `the ranges of "public"."t" do not cover it`)
	require.NotContains(t, st.Reason, "skipped")
}

// A range that a person skips is left as it is, and the job says so.
func TestASkippedRangeIsNamed(t *testing.T) {
	f := started(t, counter(5000)...)
	release := f.lock("select from t where id = 2500 for update")
	j := f.submit(counterSpec)
	f.until("all ranges but one are done", func() bool { return f.done(j) == 4 })
	_, err := f.store.SkipRange(t.Context(), j.ID, "ann", 2, "its owner is on holiday")
	require.NoError(t, err)
	r := f.ends(j, job.CompleteWithErrors)
	release()
	require.Len(t, r.Skipped, 1)
	require.Contains(t, r.Reason, "1 ranges were skipped")
	require.Zero(t, f.number("select count(*) from t where n > 1 or n = 0 and id not between 2001 and 3000"))
}

// Invariant 8: `verify` proves a job that has ended once more.
func TestVerifyOnRequest(t *testing.T) {
	f := started(t, openTable()...)
	j := f.submit(openSpec)
	f.completes(j)
	f.exec("update t set open = true where id = 5")
	_, err := f.store.RequestVerify(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	r := f.completes(j)
	require.Equal(t, int64(1), r.Repaired)
	require.Zero(t, f.number("select count(*) from t where open"))
}
