package ddl

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	huge  = Name{"public", "huge"}
	small = Name{"public", "small"}
	empty = Name{"public", "empty"}
)

// world is a server with a table of a terabyte, one of a megabyte and one without rows.
func world() Facts {
	columns := []Column{{Name: "id", Type: "bigint", NotNull: true}, {Name: "a", Type: "integer"}, {Name: "v", Type: "character varying(20)"}}
	table := func(n Name, bytes int64) Table {
		return Table{Name: n, Kind: "r", Rows: bytes / 100, Bytes: bytes, Columns: columns}
	}
	return Facts{Version: 17, Path: []string{"pg_catalog", "public"}, Tables: map[Name]Table{huge: table(huge, 1e12), small: table(small, 1e6), empty: table(empty, 0)}}
}

func check(t *testing.T, source string, mode Mode) []Finding {
	t.Helper()
	statements, err := Parse(source)
	require.NoError(t, err)
	return Check(statements, world(), mode)
}

func TestTheVerdictGoesBySize(t *testing.T) {
	for _, source := range []string{
		"alter table T add column c uuid default gen_random_uuid()", "alter table T alter column a set not null", "create index i on T (a)",
		"alter table T add constraint c check (a > 0)", "alter table T add constraint c unique (a)", "alter table T add constraint c foreign key (a) references empty",
	} {
		for table, want := range map[string]Verdict{"huge": Refuse, "small": Warn, "empty": OK} {
			f := check(t, strings.ReplaceAll(source, "T", table), Additive)[0]
			require.Equal(t, want, f.Verdict, "%s: %+v", source, f)
			if table == "huge" {
				require.NotEmpty(t, f.Fix, source)
				require.Contains(t, f.Why, "for about", source)
				require.Greater(t, f.Takes, time.Hour)
			}
		}
	}
}

// The way that a refusal names must itself be judged safe, for a table of any size.
func TestTheSafeWayIsSafe(t *testing.T) {
	for _, source := range []string{
		`ALTER TABLE huge ADD CONSTRAINT huge_a_not_null CHECK (a IS NOT NULL) NOT VALID; ALTER TABLE huge VALIDATE CONSTRAINT huge_a_not_null;
			ALTER TABLE huge ALTER COLUMN a SET NOT NULL; ALTER TABLE huge DROP CONSTRAINT huge_a_not_null;`,
		`CREATE UNIQUE INDEX CONCURRENTLY huge_a_key ON huge (id); ALTER TABLE huge ADD CONSTRAINT c PRIMARY KEY USING INDEX huge_a_key;`,
		`ALTER TABLE huge ADD COLUMN c uuid; ALTER TABLE huge ALTER COLUMN c SET DEFAULT gen_random_uuid();`,
		`CREATE TABLE fresh (id bigint PRIMARY KEY, c int DEFAULT random()); CREATE INDEX i ON fresh (c); ALTER TABLE fresh ADD COLUMN d uuid DEFAULT gen_random_uuid();`,
	} {
		for _, f := range check(t, source, Additive) {
			require.Equal(t, OK, f.Verdict, "%+v", f)
		}
	}
}

func TestModes(t *testing.T) {
	for source, want := range map[string][2]Verdict{
		"drop table huge":                                                       {Refuse, OK},
		"drop table if exists gone":                                             {Refuse, OK},
		"alter table huge drop column a":                                        {Refuse, OK},
		"drop index concurrently i":                                             {Refuse, OK},
		"alter table huge rename column a to b":                                 {Refuse, Warn},
		"alter table huge rename to b":                                          {Refuse, Warn},
		"alter table huge alter column a type bigint":                           {Refuse, Refuse},
		"alter table huge alter column v type varchar(40)":                      {OK, OK},
		"alter table huge drop column a cascade":                                {Refuse, Refuse},
		"alter table huge add column c int":                                     {OK, OK},
		"alter table huge alter column id drop not null":                        {OK, OK},
		"alter table huge disable trigger all":                                  {Refuse, Refuse},
		"alter table huge add column c int, drop column a":                      {OK, OK},
		"create or replace function f() returns int language sql as 'select 1'": {Warn, OK},
	} {
		require.Equal(t, want[0], check(t, source, Additive)[0].Verdict, source)
		require.Equal(t, want[1], check(t, source, Contract)[0].Verdict, source)
	}
	both := check(t, "alter table huge add column c int, drop column a", Additive)
	require.Equal(t, []Verdict{OK, Refuse}, []Verdict{both[0].Verdict, both[1].Verdict}, "each command is judged by itself")
}

func TestWhatIsNoSchemaChangeIsRefused(t *testing.T) {
	for source, why := range map[string]string{
		"update huge set a = 1": "backfill's work", "insert into huge values (1)": "backfill's work", "delete from huge": "backfill's work",
		"begin": "transaction of its own", "commit": "transaction of its own", "set lock_timeout = 0": "apply's own", "select pg_sleep(1)": "runs code",
		"do 'begin end'": "runs code", "call f()": "runs code", "truncate huge": "every row", "lock table huge": "keep the application waiting",
		"vacuum full huge": "maintenance", "cluster huge": "maintenance", "reindex table huge": "maintenance", "listen x": "not known",
		"alter table nowhere add column a int": "no table nowhere", "create index on huge (a)": "no name", "alter table huge add check (a > 0)": "no name",
		"create table c as select * from huge": "runs a query", "alter system set work_mem = 1": "not known", "drop database x": "not known",
		"alter table huge inherit small": "not known", "create index concurrently i on nowhere (a)": "no table", "copy huge from stdin": "backfill's work",
	} {
		for _, mode := range []Mode{Additive, Contract} {
			f := check(t, source, mode)[0]
			require.Equal(t, Refuse, f.Verdict, source)
			require.Contains(t, f.Why, why, source)
			require.NotEmpty(t, f.Fix, source)
		}
	}
}

// A statement is judged as the ones before it have left the database.
func TestStatementsBuildOnEachOther(t *testing.T) {
	found := check(t, `alter table huge add column c int; alter table huge add constraint k check (c is not null) not valid; alter table huge validate constraint k;
		alter table huge alter column c set not null; create unique index concurrently i on huge (c); alter table huge add constraint p primary key using index i;
		alter table huge add column c int; alter table huge drop constraint k; alter table huge alter column a set not null`, Additive)
	var works []Work
	var verdicts []Verdict
	for _, f := range found {
		works, verdicts = append(works, f.Work), append(verdicts, f.Verdict)
	}
	require.Equal(t, []Work{Nothing, Nothing, Scan, Nothing, Build, Nothing, Nothing, Nothing, Scan}, works)
	require.Equal(t, []Verdict{OK, OK, OK, OK, OK, OK, Warn, OK, Refuse}, verdicts)
}

// One ALTER TABLE takes its strongest lock at once, so a VALIDATE beside another command holds ACCESS EXCLUSIVE while it reads.
func TestCommandsShareTheStrongestLock(t *testing.T) {
	f := check(t, "alter table huge add constraint k check (a > 0) not valid; alter table huge add column c int, validate constraint k", Additive)
	require.Equal(t, AccessExclusive, f[2].Locks[0].Mode)
	require.Equal(t, Refuse, f[2].Verdict)
}

// Check must leave the facts as they were.
func TestCheckIsPure(t *testing.T) {
	statements, err := Parse("alter table huge add column c int; alter table huge drop column a; drop table small; alter table empty alter column a set not null")
	require.NoError(t, err)
	facts := world()
	first := Check(statements, facts, Contract)
	require.Equal(t, world(), facts)
	require.Equal(t, first, Check(statements, facts, Contract))
}
