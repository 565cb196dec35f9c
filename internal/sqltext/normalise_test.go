package sqltext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/sqltext"
)

func TestStatementsLoseTheirLiterals(t *testing.T) {
	for sql, want := range map[string]string{
		"UPDATE users SET email = 'ann@x', n = 12.5e3 WHERE id = $1": "UPDATE users SET email = ?, n = ? WHERE id = ?",
		"SELECT 'it''s' || E'a' || b'01' || U&'x' FROM t1":           "SELECT ? || ? || ? || ? FROM t1",
		"SELECT $$secret$$, $a$ it's $$ $a$":                         "SELECT ?, ?",
		"UPDATE \"we'ird\" -- password 'x'\n SET a = 1":              "UPDATE \"we'ird\" SET a = ?",
		"/* token /* nested */ 'x */ DELETE  \n FROM\tt":             "DELETE FROM t",
		`INSERT INTO t VALUES (E'a\'secret')`:                        "INSERT INTO t VALUES (? ...",
		"INSERT INTO t VALUES ('cut o":                               "INSERT INTO t VALUES (? ...",
		"SELECT $x$cut":                                              "SELECT ? ...",
		"CREATE ROLE r PASSWORD 'p'":                                 "CREATE ROLE r PASSWORD ?",
		"SELECT a.b, x1, 0x1F, .5, 1e-5":                             "SELECT a.b, x1, ?, ?, ?",
		"":                                                           "",
	} {
		require.Equal(t, want, sqltext.Normalise(sql), sql)
	}
	require.LessOrEqual(t, len(sqltext.Normalise(strings.Repeat("é ", 1000))), 504)
}

// Whatever the text, what stands in a literal does not come through.
func FuzzNormaliseHidesLiterals(f *testing.F) {
	f.Add("UPDATE t SET a = ", " WHERE b")
	f.Add("SELECT $$x$$, 'y', ", "'")
	f.Add("/* ", " */")
	f.Add("E", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRETWORD"
		if strings.Contains(before+after, secret) {
			return
		}
		for _, quote := range [][2]string{{"'", "'"}, {"$$", "$$"}, {"$q$", "$q$"}} {
			open := sqltext.Normalise(before)
			if strings.ContainsAny(before, `'"$\`) || strings.HasSuffix(open, "...") || strings.Contains(before, "/*") || strings.Contains(before, "--") {
				return // the literal may not be one there
			}
			if last := before; last != "" && quote[0] != "'" && !strings.HasSuffix(last, " ") {
				return // a$$ is a name
			}
			got := sqltext.Normalise(before + quote[0] + secret + quote[1] + after)
			if strings.Contains(got, secret) {
				t.Fatalf("%q came through: %q", before+quote[0]+secret+quote[1]+after, got)
			}
		}
	})
}
