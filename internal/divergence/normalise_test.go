package divergence_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/divergence"
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
		require.Equal(t, want, divergence.Normalise(sql), sql)
	}
	require.LessOrEqual(t, len(divergence.Normalise(strings.Repeat("é ", 1000))), 504)
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
			open := divergence.Normalise(before)
			if strings.ContainsAny(before, `'"$\`) || strings.HasSuffix(open, "...") || strings.Contains(before, "/*") || strings.Contains(before, "--") {
				return // the literal may not be one there
			}
			if last := before; last != "" && quote[0] != "'" && !strings.HasSuffix(last, " ") {
				return // a$$ is a name
			}
			got := divergence.Normalise(before + quote[0] + secret + quote[1] + after)
			if strings.Contains(got, secret) {
				t.Fatalf("%q came through: %q", before+quote[0]+secret+quote[1]+after, got)
			}
		}
	})
}

func TestSuspicionGoesFirstToWhoWroteToTheTable(t *testing.T) {
	got := divergence.Suspects([]divergence.Activity{
		{Application: "reader", Query: "SELECT * FROM users", Seen: 50},
		{Application: "other", Query: "UPDATE orders SET n = ?", Seen: 9},
		{Application: "cron", Query: "UPDATE users SET email = ?", Seen: 1},
		{Application: "cron", Query: "UPDATE users SET email = ?", Seen: 2},
		{User: "app", Query: "INSERT INTO users VALUES ($1)", Calls: 3, Rows: 7},
		{Application: "idle", Query: "SELECT ?"},
	}, []string{"users"})
	require.Equal(t, []string{"", "cron", "reader", "other", "idle"}, []string{got[0].Application, got[1].Application, got[2].Application, got[3].Application, got[4].Application})
	require.Equal(t, 3, got[1].Seen)
}
