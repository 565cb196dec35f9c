package job

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

const fullSpec = `
name: users-email-norm
database: main                      # its DSN is the process's own
table: public.users
set: {email_norm: lower(email), n: n + 1, gone: null, flag: true, price: 1.50, kind: "x"::text}
where: email_norm IS NULL AND email IS NOT NULL
key: [id]
check: |
  email_norm IS NOT DISTINCT FROM lower(email)
late_rows: ignore
rows_per_range: 1000
weight: 3
workers: {max: 4}
batch: {target: 50ms, max_rows: 500, synchronous_commit: local}
throttle:
  lag: {target: 2s, soft: 3s, hard: 4s}
  max_rows_per_second: 50000
  max_wal_bytes_per_second: 20MiB
  replicas: {reporting: ignore, "stand.by": hold}
on_error: {quarantine_rows: 0}
`

func TestParseSpecWhole(t *testing.T) {
	text := strings.Replace(fullSpec, `"x"::text`, `"'x'::text"`, 1)
	s, err := ParseSpec([]byte(text), "users.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{"email_norm": "lower(email)", "n": "n + 1", "gone": "null", "flag": "true", "price": "1.50", "kind": "'x'::text"}
	if !maps.Equal(s.Set, set) {
		t.Errorf("set = %v", s.Set)
	}
	l := s.Limits
	switch {
	case s.Name != "users-email-norm", s.Database != "main", s.Table != "public.users", s.LateRows != "ignore", s.RowsPerRange != 1000,
		s.Where != "email_norm IS NULL AND email IS NOT NULL", s.Check != "email_norm IS NOT DISTINCT FROM lower(email)",
		len(s.Key) != 1 || s.Key[0] != "id":
		t.Errorf("spec = %+v", s)
	case l.Weight != 3, l.Workers.Max != 4, l.Batch.Target.D() != 50*time.Millisecond, l.Batch.MaxRows != 500,
		l.Batch.SynchronousCommit != "local", l.Throttle.Lag != LagRules{Duration(2 * time.Second), Duration(3 * time.Second), Duration(4 * time.Second)},
		l.Throttle.MaxRowsPerSecond != 50000, l.Throttle.MaxWALBytesPerSecond != 20<<20, l.Throttle.Replicas["reporting"] != "ignore", l.Throttle.Replicas["stand.by"] != "hold",
		l.OnError.QuarantineRows != 0:
		t.Errorf("limits = %+v", l)
	}
	js, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSpec(js, "users.json")
	if err != nil {
		t.Fatalf("its JSON is refused: %v", err)
	}
	if again.Hash() != s.Hash() || again.Limits.Batch != s.Limits.Batch {
		t.Errorf("its JSON reads as %+v", again)
	}
}

const minimal = "name: j\ndatabase: main\ntable: users\nset: {a: b}\n"

func TestParseSpecDefaults(t *testing.T) {
	s, err := ParseSpec([]byte(minimal), "j.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Limits
	if s.Table != "public.users" || s.RowsPerRange != 50000 || l.Weight != 1 || l.Workers.Max != 16 || l.Batch.Target.D() != 25*time.Millisecond ||
		l.Batch.MaxRows != 10000 || l.Batch.SynchronousCommit != "off" || l.Throttle.MaxRowsPerSecond != 0 || l.Throttle.MaxWALBytesPerSecond != 0 || l.OnError.QuarantineRows != 100 ||
		l.Throttle.Lag != (LagRules{Duration(time.Second), Duration(5 * time.Second), Duration(10 * time.Second)}) {
		t.Errorf("defaults = %+v", s)
	}
	if bare := (Spec{Name: "j", Database: "main", Table: "users", Set: map[string]string{"a": "b"}}).WithDefaults(); bare.Hash() != s.Hash() ||
		bare.Limits.Throttle.Lag != l.Throttle.Lag {
		t.Errorf("WithDefaults = %+v", bare)
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", minimal + "wher: a IS NULL\n", `j.yaml:5: wher: is not a field of a spec; did you mean "where"?`},
		{"later field", minimal + "windows: []\n", `j.yaml:5: windows: is not a field of a spec; one of name, database`},
		{"nested", minimal + "throttle:\n  lag:\n    sfot: 5s\n", `j.yaml:7: throttle.lag.sfot: is not a field of throttle.lag; did you mean "soft"?`},
		{"WAL cap", minimal + "throttle: {max_wal_bytes_per_second: 20Mib/s}\n", `j.yaml:5: throttle.max_wal_bytes_per_second: "20Mib/s" is not a number of bytes; write it with its unit, from 8KiB to 1TiB, or 0 for no cap`},
		{"WAL cap bounds", minimal + "throttle: {max_wal_bytes_per_second: 20}\n", `j.yaml:5: throttle.max_wal_bytes_per_second: "20" is out of bounds`},
		{"nearest in throttle", minimal + "throttle: {max_wal_per_second: 20MiB}\n", `j.yaml:5: throttle.max_wal_per_second: is not a field of throttle; did you mean "max_rows_per_second"?`},
		{"not a number", minimal + "rows_per_range: many\n", `j.yaml:5: rows_per_range: "many" is not a whole number; write one from 1 to`},
		{"quoted number", minimal + "weight: \"2\"\n", `j.yaml:5: weight: "2" is text, not a number; write it without quotes`},
		{"list for text", minimal + "where: [a]\n", `j.yaml:5: where: is a list, not text`},
		{"list for group", minimal + "workers: [1]\n", `j.yaml:5: workers: is a list, not fields with values`},
		{"empty group", minimal + "workers:\n", `workers: is empty, not fields`},
		{"mapping for number", minimal + "weight: {a: 1}\n", `j.yaml:5: weight: is a mapping, not a single value`},
		{"duration without unit", minimal + "batch: {target: 25}\n", `j.yaml:5: batch.target: "25" is not a duration; write one with its unit`},
		{"bounds", minimal + "workers: {max: 0}\n", `j.yaml:5: workers.max: "0" is out of bounds; write a whole number from 1 to 1024`},
		{"choice", minimal + "batch: {synchronous_commit: maybe}\n", `batch.synchronous_commit: "maybe" is not known; write one of off, local`},
		{"policy", minimal + "throttle: {replicas: {r: skip}}\n", `throttle.replicas.r: "skip" is not a policy; write hold`},
		{"order", minimal + "throttle:\n  lag:\n    soft: 500ms\n", `j.yaml:7: throttle.lag.soft: "500ms" is below target 1s; write target <= soft <= hard`},
		{"order above", minimal + "throttle: {lag: {hard: 4s}}\n", `j.yaml:5: throttle.lag.hard: "4s" is below soft 5s`},
		{"late rows", minimal + "late_rows: yes\n", `j.yaml:5: late_rows: "yes" is not known; write ignore`},
		{"key text", minimal + "key: id\n", `j.yaml:5: key: is text, not a list; write it as key: [id]`},
		{"key empty", minimal + "key: []\n", `j.yaml:5: key: is empty`},
		{"key twice", minimal + "key: [a, a]\n", `j.yaml:5: key: "a" stands in it twice`},
		{"where empty", minimal + "where: ''\n", `j.yaml:5: where: is empty`},
		{"set empty", "name: j\ndatabase: main\ntable: t\nset: {}\n", `j.yaml:4: set: is missing`},
		{"set null", "name: j\ndatabase: main\ntable: t\nset:\n  a:\n", `set.a: is empty, not a SQL expression; write text like lower(email), or NULL`},
		{"set list", "name: j\ndatabase: main\ntable: t\nset:\n  a: [1]\n", `j.yaml:5: set.a: is a list, not a SQL expression`},
		{"bad name", "name: Users Email\ndatabase: main\ntable: t\nset: {a: b}\n", `j.yaml:1: name: "Users Email" is not a name; write 1 to 40 of a-z, 0-9 and -`},
		{"long name", "name: " + strings.Repeat("x", 41) + "\ndatabase: main\ntable: t\nset: {a: b}\n", `is not a name`},
		{"missing", "name: j\n", "j.yaml: database: is missing; write the name of a database, like main\nj.yaml: table: is missing; write schema.table\nj.yaml: set: is missing"},
		{"table", "name: j\ndatabase: main\ntable: public.\nset: {a: b}\n", `j.yaml:3: table: "public." is not a table's name: a name in it is empty`},
		{"twice", minimal + "name: k\n", `j.yaml:5: `},
		{"not yaml", "name: [\n", `j.yaml:1: not valid YAML`},
		{"colon", minimal + "where: a = 'x: y' AND b: c\n", `j.yaml:5: not valid YAML`},
		{"empty", "", `j.yaml: the file is empty`},
		{"comment only", "# nothing\n", `j.yaml: the file is empty`},
		{"scalar", "hello\n", `j.yaml: the file is text, not fields with values; begin with the job's name`},
		{"two documents", minimal + "---\n" + minimal, `j.yaml: the file holds several documents; write one job a file`},
		{"alias", "name: &n j\ndatabase: *n\ntable: t\nset: {a: b}\n", `j.yaml:1: name: is an anchor or alias, not text`},
		{"tag", "name: !!str j\ndatabase: d\ntable: t\nset: {a: b}\n", `name: is a tagged value, not text`},
		{"not utf-8", "name: \xff\n", `j.yaml: the file is not UTF-8 text`},
		{"huge", "# " + strings.Repeat("x", maxSpec), `j.yaml: the file is longer than`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSpec([]byte(c.text), "j.yaml")
			if err == nil {
				t.Fatal("it is accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

// FuzzParseSpec shows that no file makes the parser panic, that an accepted one is valid, and that it survives a round trip
// through its own JSON.
func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(fullSpec))
	f.Add([]byte(minimal))
	f.Add([]byte("name: [\n"))
	f.Add([]byte("set: {a: &x *x}\n? b\n: c\n<<: {a: 1}\n"))
	f.Add([]byte("name: |\n  j\ndatabase: >-\n  main\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSpec(text, "f.yaml")
		if err != nil {
			var rs Refusals
			if !errors.As(err, &rs) || len(strings.Split(err.Error(), "\n")) != len(rs) {
				t.Fatalf("not one line each: %q", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("accepted, yet not valid: %v", err)
		}
		js, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Spec
		if err := json.Unmarshal(js, &again); err != nil {
			t.Fatal(err)
		}
		if again.Hash() != s.Hash() || len(Diff(s, again)) != 0 {
			t.Fatalf("its JSON differs: %s", js)
		}
	})
}
