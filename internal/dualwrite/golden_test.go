package dualwrite_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

func hostile() (spec migration.Spec, ddl []string) {
	return migration.Spec{
			Name: "we-ird", Database: "main", Table: `"odd ""schema"."we""ird; drop table x"`,
			From:     migration.From{Columns: []string{`ol"d`, "new", "select"}},
			To:       migration.To{Columns: []migration.Column{{Name: `ne"w; --`, Type: "varchar(20)"}, {Name: "found", Type: "numeric(10,2)"}}},
			Forward:  map[string]string{`ne"w; --`: `"we""ird; drop table x"."ol""d" || '$backfleet$' -- ends here`, "found": `"new" * 1.005`},
			Backward: map[string]string{"select": `"found"::text`},
		}, []string{`CREATE SCHEMA "odd ""schema"`,
			`CREATE TABLE "odd ""schema"."we""ird; drop table x" ("a""b" int, id bigint, "ol""d" varchar(7), "new" numeric, "select" text,
				"ne""w; --" varchar(20), "found" numeric(10,2), PRIMARY KEY ("a""b", id)) PARTITION BY RANGE ("a""b")`,
			`CREATE TABLE "odd ""schema".p1 PARTITION OF "odd ""schema"."we""ird; drop table x" FOR VALUES FROM (0) TO (10)`,
			`CREATE TABLE "odd ""schema"."p 2" PARTITION OF "odd ""schema"."we""ird; drop table x" FOR VALUES FROM (10) TO (20)`}
}

func TestEveryStatementIsAsItsGoldenFile(t *testing.T) {
	odd, oddDDL := hostile()
	dependent := columns()
	dependent.Forward = map[string]string{"email_norm": "to_char(at, 'YYYY-MM-DD')"}
	dependent.Backward = nil
	qualified := columns()
	qualified.Forward = map[string]string{"email_norm": "lower(users.email) || \"users\".seen -- both"}
	whole := table()
	whole.Backward = map[string]string{"id": "user_id", "email": "address"}
	whole.From.Columns = []string{"id", "email"}
	for _, c := range []struct {
		name string
		spec migration.Spec
		ddl  []string
	}{
		{"columns", columns(), []string{users}},
		{"hostile", odd, oddDDL},
		{"qualified", qualified, []string{users}},
		{"dependent", dependent, []string{"CREATE TABLE users (id bigint PRIMARY KEY, at timestamptz, email text, email_norm text)"}},
		{"table", table(), []string{users, userEmails}},
		{"whole-table", whole, []string{users, userEmails}},
	} {
		for _, d := range []dualwrite.Direction{dualwrite.Forward, dualwrite.Both} {
			t.Run(c.name+"-"+string(d), func(t *testing.T) {
				s := at(t, harness.Database(t).Pool, c.spec, c.ddl...)
				var got string
				require.NoError(t, s.inTx(func(tx pgx.Tx) (err error) {
					got, err = dualwrite.SQLOf(t.Context(), tx, c.spec, d, "public")
					return err
				}))
				file := filepath.Join("testdata", c.name+"-"+string(d)+".sql")
				if *update {
					require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Equal(t, string(want), got)
			})
		}
	}
}
