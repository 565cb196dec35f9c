package ddl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSplits(t *testing.T) {
	statements, err := Parse("-- the first\n\n/* a /* nested */ comment */ create table t (id int); \n\talter table t\n\tadd column \"é;\" text default 'a;b' ;\n" +
		"create function f() returns int language sql as $$ select 1; $$;\n-- the end\n")
	require.NoError(t, err)
	require.Len(t, statements, 3)
	require.Equal(t, "create table t (id int)", statements[0].SQL)
	require.Equal(t, "alter table t\n\tadd column \"é;\" text default 'a;b'", statements[1].SQL)
	require.Equal(t, "create function f() returns int language sql as $$ select 1; $$", statements[2].SQL)
	require.Equal(t, []int{3, 4, 6}, []int{statements[0].Line, statements[1].Line, statements[2].Line})
	require.Equal(t, []int{1, 2, 3}, []int{statements[0].Number, statements[1].Number, statements[2].Number})
}

func TestParseNamesThePlace(t *testing.T) {
	for source, want := range map[string]string{
		"create table t (id int);\n  alter tabel t add c int": `line 2, column 9: syntax error at or near "tabel"; it is read as PostgreSQL 17 would`,
		"select 'é';\nselect 'ü' frm":                         "",
		"comment on table t is 'no end":                       `line 1, column 23: unterminated quoted string at or near "'no end"`,
		"":                                                    "line 1, column 1: holds no statement; write at least one",
		"-- nothing\n;;":                                      "line 1, column 1: holds no statement; write at least one",
		"create table t ();\n-- é\n drop table \x00t": "line 3, column 13: holds a zero byte; remove it",
		"select '\xff'": "line 1, column 1: is not UTF-8; save the file as UTF-8",
		"alter table t add constraint c not null a not valid":     `line 1, column 32: syntax error at or near "not"; it is read as PostgreSQL 17 would`,
		"create table é (id int);\ncreate table é (é int, é é é)": `line 2, column 28: syntax error at or near "é"; it is read as PostgreSQL 17 would`,
	} {
		_, err := Parse(source)
		if want == "" {
			require.NoError(t, err, source)
			continue
		}
		var at *SyntaxError
		require.ErrorAs(t, err, &at, source)
		require.Equal(t, want, err.Error())
	}
	_, err := Parse(strings.Repeat(" ", maxSource+1))
	require.ErrorContains(t, err, "split the file")
}

func TestConcurrent(t *testing.T) {
	for source, want := range map[string]bool{
		"create index i on t (a)": false, "create index concurrently i on t (a)": true, "drop index concurrently i": true, "drop index i": false,
		"alter table p detach partition q concurrently": true, "alter table p detach partition q": false, "reindex (concurrently) table t": true,
		"reindex (concurrently false) table t": false, "vacuum t": true, "analyze t": false,
	} {
		statements, err := Parse(source)
		require.NoError(t, err)
		require.Equal(t, want, statements[0].Concurrent(), source)
	}
}

// Whatever a file holds, reading and judging it ends in findings or in a place in the file, and no statement is lost.
func FuzzParseAndCheck(f *testing.F) {
	for _, k := range ddlCases {
		f.Add(k.sql)
	}
	f.Add("select 1;;\n/* */ drop table a.b.c cascade;")
	big := Name{"public", "big"}
	facts := Facts{Version: 17, Tables: map[Name]Table{big: {Name: big, Kind: "r", Bytes: 1e12, Columns: []Column{{Name: "a", Type: "integer"}}}}}
	f.Fuzz(func(t *testing.T, source string) {
		statements, err := Parse(source)
		if err != nil {
			return
		}
		seen := map[int]bool{}
		for _, finding := range Check(statements, facts, Additive) {
			seen[finding.Statement] = true
			require.NotEmpty(t, finding.Why)
			require.NotEmpty(t, finding.What)
		}
		for _, s := range statements {
			require.True(t, seen[s.Number], "statement %d has no finding: %s", s.Number, s.SQL)
			require.Contains(t, source, s.SQL)
			s.probes()
			s.Concurrent()
		}
	})
}
