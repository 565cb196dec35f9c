package fleet

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// keyed is a table with a kind of key: the columns, the rows' keys as a SELECT over i, and the key.
type keyed struct{ name, columns, rows, key string }

const uuids = "md5(i::text)::uuid"

// words are texts whose order depends on the collation: case, accents, punctuation.
const words = "(array['a','A','ä','Ä','z','Z','é','-b','_','ß','o''k','\"q\"','\\'])[1 + i % 13] || i || ' x'"

func keys(libc string) []keyed {
	return []keyed{
		{"smallint-all", "k smallint", "generate_series(-32768, 32767, 40)::smallint", "k"},
		{"int-sparse", "k int", "(i * 1000003 - 1500000000)::int from generate_series(0, 2000) i", "k"},
		{"bigint-skewed", "k bigint", "(i::bigint ^ 5 - 1e15)::bigint from generate_series(0, 2000) i", "k"},
		{"bigint-edges", "k bigint", "unnest(array[-9223372036854775808, -1, 0, 1, 9223372036854775807])", "k"},
		{"uuid", "k uuid", uuids + " from generate_series(1, 2000) i", "k"},
		{"text-c", `k text collate "C"`, words + " from generate_series(1, 2000) i", "k"},
		{"text-icu", `k text collate "de-x-icu"`, words + " from generate_series(1, 2000) i", "k"},
		{"text-libc", fmt.Sprintf("k text collate %q", libc), words + " from generate_series(1, 2000) i", "k"},
		{"text-empty", `k text`, "repeat(chr(10), i) from generate_series(0, 200) i", "k"},
		{"varchar", "k varchar(40)", words + " from generate_series(1, 2000) i", "k"},
		{"timestamptz", "k timestamptz",
			"'2024-03-31 00:00:00.123456+01'::timestamptz + i * interval '17 minutes 0.000001 seconds' from generate_series(1, 2000) i union all " +
				"select unnest(array['-infinity', 'infinity', '0044-03-15 12:00:00+00 BC']::timestamptz[])", "k"},
		{"numeric", "k numeric", "(i - 1000) * 1.10 ^ (i % 60) from generate_series(1, 2000) i union all " +
			"select unnest(array['-Infinity', 'Infinity', 'NaN']::numeric[])", "k"},
		{"date", "k date", "'1999-12-01'::date + i from generate_series(1, 2000) i union all select unnest(array['-infinity', 'infinity']::date[])", "k"},
		{"tenant-uuid", "a int, b uuid", "i % 7, " + uuids + " from generate_series(1, 2000) i", "a, b"},
		{"text-time-int", `a text collate "de-x-icu", b timestamptz, c smallint`,
			"chr(97 + i % 3) || case i % 2 when 0 then 'Ä' else 'a' end, '2024-01-01'::timestamptz + (i % 5) * interval '1 day', i::smallint from generate_series(1, 2000) i", "a, b, c"},
	}
}

// Invariants 1 and 5: whatever the key, in plain order and in passes, every row is done exactly once and the coverage is proven.
func TestEveryKindOfKey(t *testing.T) {
	f := stage(t)
	var libc string // a collation of the machine's own
	require.NoError(t, f.admin.QueryRow(t.Context(), `select collname from pg_collation
		where collprovider = 'c' and collencoding = pg_char_to_encoding('UTF8') order by collname desc limit 1`).Scan(&libc))
	all := keys(libc)
	jobs := map[string]job.Job{}
	orders := []int{1, 4}
	name := func(k keyed, passes int) string { return fmt.Sprintf("%s-%d", k.name, passes) }
	for _, k := range all {
		for _, passes := range orders {
			table := name(k, passes)
			f.exec(fmt.Sprintf("create table %q (%s, n int not null default 0, primary key (%s))", table, k.columns, k.key))
			f.exec(fmt.Sprintf("insert into %q select %s", table, k.rows))
			f.exec(fmt.Sprintf("analyze %q", table))
			jobs[table] = f.submit(fmt.Sprintf("name: %s\ntable: public.%q\nset: {n: n + 1}\ncheck: n = 1\nlate_rows: ignore\nrows_per_range: 290\n"+
				"batch: {max_rows: 60, passes: %d}", table, table, passes))
		}
	}
	f.start()
	for _, k := range all {
		for _, passes := range orders {
			table := name(k, passes)
			r := f.completes(jobs[table])
			rows := f.number(fmt.Sprintf("select count(*) from %q", table))
			require.Zero(t, f.number(fmt.Sprintf("select count(*) from %q where n <> 1", table)), table)
			require.Equal(t, int64(rows), r.Rows, table)
			require.Equal(t, (rows+289)/290, r.Coverage[0].Ranges, "%s: ranges of even size", table)
			require.Zero(t, r.Retries, table)
		}
	}
}
