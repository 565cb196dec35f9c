package job

import (
	"strings"
	"testing"
)

// worded is a spec with a statement.
func worded(statement, alias string) Spec {
	return Spec{Name: "j", Database: "main", Table: "public.users", Statement: statement, Alias: alias}.WithDefaults()
}

func TestForm(t *testing.T) {
	for _, c := range []struct{ statement, alias, want string }{
		{"DELETE FROM users WHERE {{range}}", "", `DELETE FROM ONLY L AS "users" WHERE (c)`},
		{"DELETE FROM Users WHERE {{range}} AND users.a", "", `DELETE FROM ONLY L AS "users" WHERE (c) AND users.a`},
		{"DELETE FROM public.users AS u WHERE {{range}};", "u", `DELETE FROM ONLY L AS u WHERE (c);`},
		{`DELETE FROM ONLY "public"."users" u WHERE {{range}} -- gone`, "u", `DELETE FROM ONLY L u WHERE (c) -- gone`},
		{"UPDATE users u SET a = x.b FROM x WHERE x.id = u.id AND {{range}}", "u", `UPDATE ONLY L u SET a = x.b FROM x WHERE x.id = u.id AND (c)`},
		{"INSERT INTO users (a) SELECT u.a FROM x, users u WHERE {{range}}", "u", `INSERT INTO users (a) SELECT u.a FROM x, ONLY L u WHERE (c)`},
		{"INSERT INTO users AS u (a) SELECT s.a FROM users s WHERE {{range}}", "s", `INSERT INTO users AS u (a) SELECT s.a FROM ONLY L s WHERE (c)`},
		{"INSERT INTO n SELECT users.id, 'users {{range}}' /* {{range}} */ FROM x JOIN users ON true WHERE {{range}}", "",
			`INSERT INTO n SELECT users.id, 'users {{range}}' /* {{range}} */ FROM x JOIN ONLY L AS "users" ON true WHERE (c)`},
		{"DELETE FROM users x USING users u WHERE x.a = u.a AND {{range}}", "u", `DELETE FROM users x USING ONLY L u WHERE x.a = u.a AND (c)`},
		{"DELETE FROM users x USING {{table}} WHERE x.a = u.a AND {{range}}", "u", `DELETE FROM users x USING ONLY L AS "u" WHERE x.a = u.a AND (c)`},
		{"MERGE INTO n USING (SELECT * FROM {{table}} AS u WHERE {{range}}) s ON s.id = n.id WHEN MATCHED THEN DELETE", "u",
			`MERGE INTO n USING (SELECT * FROM ONLY L AS u WHERE (c)) s ON s.id = n.id WHEN MATCHED THEN DELETE`},
		{"MERGE INTO users u USING n ON {{range}} WHEN MATCHED THEN DELETE", "u", `MERGE INTO ONLY L u USING n ON (c) WHEN MATCHED THEN DELETE`},
		{"WITH g AS (DELETE FROM users u WHERE {{range}} RETURNING *) INSERT INTO n SELECT * FROM g", "u",
			`WITH g AS (DELETE FROM ONLY L u WHERE (c) RETURNING *) INSERT INTO n SELECT * FROM g`},
		{"INSERT INTO n SELECT * FROM (users u CROSS JOIN x) WHERE {{range}}", "u", `INSERT INTO n SELECT * FROM (ONLY L u CROSS JOIN x) WHERE (c)`},
	} {
		f, refused := worded(c.statement, c.alias).Form()
		if len(refused) > 0 {
			t.Errorf("%s: %v", c.statement, refused)
			continue
		}
		if got := strings.ReplaceAll(f.With(`ONLY L`, "(c)"), "ONLY ONLY", "ONLY"); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if got := (Form{}).With("L", "c"); got != "{{range}}" {
		t.Errorf("a zero form is %q, which a server might take", got)
	}
}

func TestStatementsThatAreRefused(t *testing.T) {
	const head = "name: j\ndatabase: main\ntable: users\n"
	for name, c := range map[string]struct{ text, want string }{
		"no range":        {"statement: DELETE FROM users u\nalias: u", `j.yaml:4: statement: does not hold {{range}}; write it once in the WHERE that selects the rows of public.users`},
		"spaces":          {"statement: DELETE FROM users WHERE {{ range }}", `j.yaml:4: statement: does not hold {{range}}`},
		"twice":           {"statement: DELETE FROM users WHERE {{range}} AND {{range}}", `j.yaml:4: statement: holds {{range}} 2 times; write it once`},
		"string":          {"statement: DELETE FROM users WHERE a = '{{range}}'", `statement: holds {{range}} only inside a string, a comment or a quoted name`},
		"dollars":         {"statement: DELETE FROM users WHERE a = $x$ {{range}} $x$", `statement: holds {{range}} only inside a string`},
		"line comment":    {"statement: |\n  DELETE FROM users WHERE true -- {{range}}", `statement: holds {{range}} only inside a string, a comment or a quoted name`},
		"block comment":   {"statement: DELETE FROM users WHERE true /* {{range}} */", `statement: holds {{range}} only inside a string, a comment`},
		"quoted name":     {`statement: DELETE FROM users WHERE "{{range}}"`, `statement: holds {{range}} only inside a string, a comment or a quoted name`},
		"two statements":  {"statement: DELETE FROM users WHERE {{range}}; DROP TABLE users", `j.yaml:4: statement: holds several statements; write one`},
		"a SELECT":        {"statement: SELECT * FROM users WHERE {{range}}", `j.yaml:4: statement: begins with SELECT; write one INSERT, UPDATE, DELETE or MERGE`},
		"a COPY":          {"statement: COPY users TO STDOUT -- {{range}}", `statement: begins with COPY`},
		"a comment alone": {"statement: |\n  -- DELETE FROM users WHERE {{range}}", `statement: begins with nothing but comments`},
		"empty":           {"statement: ''", `j.yaml:4: statement: is empty`},
		"a list":          {"statement: [a]", `j.yaml:4: statement: is a list, not text`},
		"parameter":       {"statement: DELETE FROM users WHERE {{range}} AND a = $1", `statement: holds a parameter ($1); write the value itself`},
		"skip locked":     {"statement: INSERT INTO n SELECT 1 FROM users WHERE {{range}} FOR UPDATE SKIP LOCKED", `statement: skips locked rows, which would be left out and count as done`},
		"sample":          {"statement: INSERT INTO n SELECT 1 FROM users TABLESAMPLE system (1) WHERE {{range}}", `statement: takes a sample of rows (TABLESAMPLE)`},
		"other alias":     {"statement: DELETE FROM users x WHERE {{range}}\nalias: u", `j.yaml:5: alias: "u" is not public.users in the statement; write FROM public.users u, or alias: as the statement has it`},
		"no alias":        {"statement: DELETE FROM users u WHERE {{range}}", `alias: "users" is not public.users in the statement`},
		"other table":     {"statement: DELETE FROM people u WHERE {{range}}\nalias: u", `j.yaml:5: alias: "u" is not public.users in the statement`},
		"other schema":    {"statement: DELETE FROM app.users u WHERE {{range}}\nalias: u", `j.yaml:5: alias: "u" is not public.users in the statement`},
		"two places":      {"statement: INSERT INTO n SELECT 1 FROM users u WHERE {{range}} UNION SELECT 2 FROM users u\nalias: u", `j.yaml:5: alias: "u" is public.users in 2 places of the statement; write {{table}} in the place whose rows {{range}} selects`},
		"two tables":      {"statement: INSERT INTO n SELECT 1 FROM {{table}} u, {{table}} u WHERE {{range}}\nalias: u", `alias: "u" has {{table}} 2 times; write it once`},
		"its other alias": {"statement: DELETE FROM {{table}} x WHERE {{range}}\nalias: u", `j.yaml:5: alias: "u" is not what the statement calls {{table}}: that is x`},
		"beside set":      {"statement: DELETE FROM users WHERE {{range}}\nset: {a: b}", "j.yaml:4: statement: stands beside `set`; write one of the two"},
		"neither":         {"where: a", "set: is missing; write at least one column and its expression, like {email_norm: lower(email)}, or a `statement`"},
		"alias of a set":  {"set: {a: b}\nalias: u", `j.yaml:5: alias: "u" has no statement to stand in; leave it out`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSpec([]byte(head+c.text+"\n"), "j.yaml")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

// A job of before there were statements keeps its hash; statement and alias are part of what a job is.
func TestTheHashOfAStatement(t *testing.T) {
	set := Spec{Name: "j", Database: "main", Table: "users", Set: map[string]string{"a": "b"}}
	if got := set.Hash(); got != oldHash {
		t.Errorf("the hash of a job without a statement has changed: %s", got)
	}
	one := worded("DELETE FROM users WHERE {{range}}", "")
	if one.Hash() != worded("DELETE FROM users WHERE {{range}}", "users").Hash() {
		t.Error("the alias that it has anyway makes another job")
	}
	other := worded("DELETE FROM users u WHERE {{range}}", "u")
	if diff := strings.Join(Diff(one, other), " "); diff != "statement alias" || one.Hash() == other.Hash() {
		t.Errorf("diff is %q", diff)
	}
}

// Whatever the text, a form holds the statement's bytes apart from its two places, or it is refused.
func FuzzForm(f *testing.F) {
	for _, x := range []string{"DELETE FROM users WHERE {{range}}", "with users as (delete from only users u where {{range}})", "MERGE INTO {{table}} u '", `insert "`, "update $a$ {{range}}"} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x string) {
		s := worded(x, "")
		form, refused := s.Form()
		if len(refused) > 0 {
			return
		}
		if len(form.places) != 2 || len(form.pieces) != 3 {
			t.Fatalf("%q: %+v", x, form)
		}
		at := 0
		for _, p := range form.pieces {
			i := strings.Index(x[at:], p)
			if i < 0 {
				t.Fatalf("%q is not of %q", p, x)
			}
			at += i + len(p)
		}
	})
}

// oldHash is what the identity was made into before there were statements, of the job in TestTheHashOfAStatement.
const oldHash = "f8e4b289ddbd7cb74fc339fce1de87682ee480958119c8bf8ba23b5a5cff669e"
