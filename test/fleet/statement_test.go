package fleet

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/ranges"
)

// mailed is the counter's table, and one that a statement fills from it.
func mailed(n int, more ...string) []string {
	return append(append(counter(n), "create table mails (person bigint primary key, n int not null default 0, constraint tame check (n >= 0))"), more...)
}

// insertSpec is the recommended form: the source's rows are locked, and what is there already is left alone.
const insertSpec = `
name: mails
table: t
alias: u
statement: |
  INSERT INTO mails (person, n)
  SELECT u.id, u.n FROM t u WHERE {{range}}
  FOR NO KEY UPDATE OF u
  ON CONFLICT (person) DO NOTHING
where: NOT EXISTS (SELECT FROM mails m WHERE m.person = u.id)
rows_per_range: 500
`

// Invariant 8: poison rows of a statement are set aside, each alone and with its error, and done by a retry.
func TestPoisonRowsOfAStatementStopNothing(t *testing.T) {
	f := started(t, mailed(3000, "update t set n = -1 where id in (1, 1500, 1501, 3000)", "vacuum analyze t")...)
	j := f.submit(insertSpec)
	r := f.ends(j, job.CompleteWithErrors)
	require.Equal(t, int64(2996), r.Rows)
	require.Zero(t, *r.Residual, "quarantined rows are excluded from the proof")
	require.Len(t, r.Quarantined, 4)
	for _, q := range r.Quarantined {
		require.Equal(t, "23514", q.SQLState)
		require.Contains(t, q.Error, "tame")
	}
	require.Equal(t, 2996, f.number("select count(*) from mails"))

	f.exec("update t set n = 0 where id in (1, 1500)")
	res, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, int64(2), res.Rows)
	require.Len(t, res.Left, 2)
	f.ends(j, job.CompleteWithErrors)
	f.exec("alter table mails drop constraint tame")
	_, err = f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	r = f.completes(j)
	require.Equal(t, int64(3000), r.Rows, "the rows of the retries are counted with their ranges")
	require.Zero(t, f.number("select count(*) from t full join mails on person = id where t.n is distinct from mails.n"))
}

// A row that was left out, here by a hand that deleted it in mid-run, is found by the proof and done once more; the others are not touched.
func TestTheProofOfAStatementRepairsWhatIsOpen(t *testing.T) {
	f := stage(t, mailed(5000)...)
	release := f.lock("select from t where id = 5000 for update") // the last range stays open
	j := f.submit(insertSpec)
	f.start()
	f.until("all ranges but the last are done", func() bool { return f.done(j) == 9 })
	f.exec("delete from mails where person between 100 and 120")
	f.exec("update mails set n = 5 where person = 200")
	release()
	r := f.completes(j)
	require.Equal(t, int64(21), r.Repaired)
	require.Zero(t, *r.Residual)
	require.Equal(t, 5000, f.number("select count(*) from mails"))
	require.Equal(t, 5, f.number("select n from mails where person = 200"), "a row that is there is not done again")
}

// Rows that fail only their check are done again where that leaves what doing them once leaves, and the job fails where it may not.
func TestACheckOfAStatementIsRepairedOnlyWhereThatIsHarmless(t *testing.T) {
	for name, c := range map[string]struct {
		conflict string
		repaired int64
		want     job.State
	}{
		"sets what it would insert": {"DO UPDATE SET n = EXCLUDED.n", 1, job.Complete},
		"counts up":                 {"DO UPDATE SET n = m.n + 1", 0, job.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, mailed(1000)...)
			release := f.lock("select from t where id = 1000 for update")
			j := f.submit("name: mails\ntable: t\nalias: u\nrows_per_range: 500\nlate_rows: ignore\n" +
				"statement: INSERT INTO mails AS m (person, n) SELECT u.id, u.n FROM t u WHERE {{range}} FOR SHARE ON CONFLICT (person) " + c.conflict +
				"\ncheck: EXISTS (SELECT FROM mails m WHERE m.person = u.id AND m.n = u.n)")
			f.start()
			f.until("the first range is done", func() bool { return f.done(j) == 1 })
			f.exec("update mails set n = 9 where person = 7")
			release()
			r := f.ends(j, c.want)
			require.Equal(t, c.repaired, r.Repaired)
			require.Equal(t, map[job.State]int{job.Complete: 0, job.Failed: 9}[c.want], f.number("select n from mails where person = 7"))
			require.Equal(t, 1000, f.number("select count(*) from mails"))
		})
	}
}

// A sum shows each row that a batch does twice, or not at all: batches end within groups, in plain order and in passes.
func TestAStatementThatSumsUp(t *testing.T) {
	f := started(t, "create table sales (id bigint primary key, shop int not null, amount int not null)",
		"insert into sales select i, i % 7, i % 100 from generate_series(1, 20000) i", "create table sums (shop int, by text, amount bigint, n bigint, primary key (shop, by))", "analyze")
	for _, passes := range []string{"1", "4"} {
		j := f.submit(fmt.Sprintf(`
name: sums-%[1]s
table: sales
alias: s
statement: |
  INSERT INTO sums AS x (shop, by, amount, n)
  SELECT s.shop, '%[1]s', sum(s.amount), count(*) FROM sales s WHERE {{range}} GROUP BY s.shop
  ON CONFLICT (shop, by) DO UPDATE SET amount = x.amount + EXCLUDED.amount, n = x.n + EXCLUDED.n
late_rows: ignore
rows_per_range: 900
batch: {max_rows: 333, passes: %[1]s}`, passes))
		f.completes(j)
		require.Zero(t, f.number(`select count(*) from (select shop, sum(amount) as amount, count(*) as n from sales group by 1) a
			full join (select * from sums where by = $1) b using (shop) where a.amount is distinct from b.amount or a.n is distinct from b.n`, passes))
	}
}

// A leaf may be renamed in mid-run: batches follow it, for they name the relation that the ledger has, in the place of the statement's.
func TestALeafOfAStatementThatIsRenamed(t *testing.T) {
	f := started(t, partitions("create table seen (id bigint, region text)")...)
	j := f.submit("name: seen\ntable: t\nkey: [id]\nrows_per_range: 100\nlate_rows: ignore\nbatch: {max_rows: 50}\nthrottle: {max_rows_per_second: 1500}\n" +
		"statement: INSERT INTO seen SELECT t.id, t.region FROM t WHERE {{range}} FOR SHARE")
	f.until("it is under way", func() bool { return f.status(j).Rows > 0 })
	_, err := f.store.Pause(t.Context(), j.ID, "ann", "")
	require.NoError(t, err)
	f.until("nothing runs", func() bool { return f.number("select count(*) from backfleet.ranges where state = 'running'") == 0 })
	require.Less(t, f.number("select count(*) from seen"), 3000)
	for _, leaf := range []string{"t_a", "t_b", "cold.t_c"} {
		f.exec("alter table " + leaf + " rename to renamed_" + leaf[len(leaf)-1:])
	}
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, int64(3000), f.completes(j).Rows)
	require.Equal(t, 3000, f.number("select count(distinct (id, region)) from seen"))
}

// MERGE is a statement like the others, from PostgreSQL 15 on.
func TestAMerge(t *testing.T) {
	f := started(t, mailed(3000, "insert into mails select i, 1 from generate_series(2, 3000, 2) i", "analyze")...)
	if f.number("select current_setting('server_version_num')::int") < 150000 {
		s, err := job.ParseSpec([]byte("name: m\ndatabase: main\ntable: t\nalias: u\nlate_rows: ignore\nstatement: MERGE INTO mails m USING (SELECT * FROM t u WHERE {{range}}) s ON s.id = m.person WHEN MATCHED THEN DELETE"), "")
		require.NoError(t, err)
		_, err = preflight.Check(t.Context(), f.pool, s, preflight.Options{})
		require.ErrorContains(t, err, "MERGE needs PostgreSQL 15")
		return
	}
	r := f.completes(f.submit(`
name: merge
table: t
alias: u
statement: |
  MERGE INTO mails m USING (SELECT u.id, u.n FROM t u WHERE {{range}} FOR NO KEY UPDATE) s ON s.id = m.person
  WHEN MATCHED THEN UPDATE SET n = m.n + 1
  WHEN NOT MATCHED THEN INSERT (person, n) VALUES (s.id, 2)
late_rows: ignore
rows_per_range: 300`))
	require.Equal(t, int64(3000), r.Rows)
	require.Equal(t, 3000, f.number("select count(*) from mails where n = 2"))
}

// A row that a statement deleted is passed over by nobody: the ranges tile the keys that were there at the freeze.
func TestADeletedTableIsProved(t *testing.T) {
	f := started(t, counter(4000)...)
	r := f.completes(f.submit("name: purge\ntable: t\nalias: u\nstatement: DELETE FROM t u WHERE {{range}}\nwhere: u.id % 3 = 0\nrows_per_range: 300"))
	require.Equal(t, int64(1333), r.Rows)
	require.Zero(t, *r.Residual)
	require.Equal(t, ranges.Key{"4000"}, r.Coverage[0].Bound)
	require.Equal(t, 2667, f.number("select count(*) from t"))
}
