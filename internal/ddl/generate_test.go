package ddl

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestGenerate(t *testing.T) {
	users := Name{"public", "users"}
	for name, w := range map[string]Wanted{
		"columns": {Table: users, Columns: []Column{
			{Name: "email_norm", Type: "text"}, {Name: "tries", Type: "integer", Default: "0", NotNull: true},
			{Name: "token", Type: "uuid", Default: "gen_random_uuid()"}, {Name: "at", Type: "timestamptz", Default: "now()"}}},
		"identifiers": {Table: Name{"s;p", `we"ird`}, Columns: []Column{{Name: `a"b; drop table x`, Type: "numeric(10,2)", Default: "'it''s; --'"}}},
		"table": {Table: Name{"public", "emails"}, Key: []string{"user_id", "n"}, Columns: []Column{
			{Name: "user_id", Type: "bigint", NotNull: true}, {Name: "n", Type: "integer", NotNull: true}, {Name: "token", Type: "uuid", Default: "gen_random_uuid()"}}},
	} {
		t.Run(name, func(t *testing.T) {
			statements, err := Generate(w, Facts{})
			require.NoError(t, err)
			text := ""
			for _, s := range statements {
				text += s.SQL + ";\n"
			}
			golden(t, filepath.Join("testdata", name+".sql"), text)
			facts := Facts{Version: 17, Tables: map[Name]Table{}}
			if len(w.Key) == 0 {
				facts.Tables[w.Table] = Table{Name: w.Table, Kind: "r", Rows: 1e9, Bytes: 1e12, Columns: []Column{{Name: "id", Type: "bigint"}}}
			}
			for _, f := range Check(statements, facts, Additive) {
				require.Equal(t, OK, f.Verdict, "%+v", f)
				require.Equal(t, Nothing, f.Work)
			}
		})
	}
}

// What is generated must be what a server accepts, twice.
func TestWhatIsGeneratedApplies(t *testing.T) {
	d := harness.Database(t)
	conn := connect(t, d.DSN)
	_, err := conn.Exec(t.Context(), `create table users (id bigint primary key); insert into users select generate_series(1, 10)`)
	require.NoError(t, err)
	statements, err := Generate(Wanted{Table: Name{"public", "users"}, Columns: []Column{
		{Name: "tries", Type: "integer", Default: "7", NotNull: true}, {Name: `odd "name"`, Type: "uuid", Default: "gen_random_uuid()"}}}, Facts{})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, Apply(t.Context(), conn, statements, Options{}, func(Event) {}))
	}
	_, err = conn.Exec(t.Context(), `insert into users (id) values (11)`)
	require.NoError(t, err)
	var tries, tokens int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) filter (where tries = 7), count("odd ""name""") from users`).Scan(&tries, &tokens))
	require.Equal(t, []int{11, 1}, []int{tries, tokens}, "a constant default is every row's, a volatile one the new rows'")
}

func TestGenerateRefuses(t *testing.T) {
	for name, c := range map[string]Column{
		"columns.c":         {Name: "c", Type: "int", NotNull: true},
		"columns.c.type":    {Name: "c", Type: "int, drop column id"},
		"columns.d.type":    {Name: "d", Type: "int not null"},
		"columns.e.type":    {Name: "e", Type: "bigserial"},
		"columns.f.type":    {Name: "f", Type: ""},
		"columns.g.default": {Name: "g", Type: "int", Default: "1; drop table t"},
		"columns.h.default": {Name: "h", Type: "int", Default: "1 unique"},
		"columns.i.type":    {Name: "i", Type: "int -- "},
		"columns.k":         {Name: "k", Type: "uuid", Default: "gen_random_uuid()", NotNull: true},
	} {
		_, err := Generate(Wanted{Table: Name{"public", "t"}, Columns: []Column{c}}, Facts{})
		if name == "columns.i.type" { // a comment says nothing
			require.NoError(t, err)
			continue
		}
		var refused job.Refusals
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, name, refused[0].Field)
		require.NotEmpty(t, refused[0].Fix)
	}
}
