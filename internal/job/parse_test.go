package job

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
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
  max_growth: 1.3
  replicas: {reporting: ignore, "stand.by": hold}
  windows:
    - {cron: "0 22 * * *", tz: Europe/Berlin, for: 8h, rate: 1.0}
    - {cron: 0 9 * * 1-5, tz: UTC, for: 90m, rate: 0}
  default_rate: 0.3
  signals:
    archive_queue: {soft: 10, hard: 21}
    autovacuum: off
    oldest_transaction: {hard: 1h}
    disk_free: {soft: 25%, hard: off}
  checks:
    - {name: queue_depth, sql: "SELECT count(*) FROM queue", soft: 100, hard: 1e3, every: 2s}
    - {name: traffic, http: "http://127.0.0.1:8080/go"}
    - name: free-memory
      prometheus: {url: "https://prometheus:9090", query: node_memory_MemAvailable_bytes}
      hard: 1000000
      below: true
on_error: {quarantine_rows: 0}
verify: {snapshot: 0s}
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
		l.OnError.QuarantineRows != 0, l.Throttle.MaxGrowth != 1.3, l.Verify.Snapshot != 0,
		!slices.Equal(l.Throttle.Windows, []Window{{"0 22 * * *", "Europe/Berlin", Duration(8 * time.Hour), 1}, {"0 9 * * 1-5", "UTC", Duration(90 * time.Minute), 0}}),
		l.Throttle.DefaultRate == nil || *l.Throttle.DefaultRate != 0.3,
		!maps.Equal(l.Throttle.Signals, map[string]SignalRule{"archive_queue": {"10", "21"}, "autovacuum": {"off", "off"}, "oldest_transaction": {Hard: "1h"}, "disk_free": {"25%", "off"}}),
		!slices.Equal(l.Throttle.Checks, []Check{
			{Name: "queue_depth", SQL: "SELECT count(*) FROM queue", Soft: "100", Hard: "1e3", Every: Duration(2 * time.Second)},
			{Name: "traffic", HTTP: "http://127.0.0.1:8080/go", Every: Duration(5 * time.Second)},
			{Name: "free-memory", Prometheus: PrometheusQuery{"https://prometheus:9090", "node_memory_MemAvailable_bytes"}, Hard: "1000000", Below: true, Every: Duration(5 * time.Second)},
		}):
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
	if again.Hash() != s.Hash() || !reflect.DeepEqual(again, s) {
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
		{"unknown signal", minimal + "throttle:\n  signals:\n    archiv_queue: off\n", `j.yaml:7: throttle.signals.archiv_queue: is not a field of throttle.signals; did you mean "archive_queue"?`},
		{"unknown threshold", minimal + "throttle:\n  signals:\n    xid_age: {max: 1}\n", `j.yaml:7: throttle.signals.xid_age.max: is not a field of throttle.signals.xid_age; one of soft, hard`},
		{"signal on", minimal + "throttle: {signals: {xid_age: true}}\n", `j.yaml:5: throttle.signals.xid_age: "true" is neither off nor default; write thresholds as {soft: 10, hard: 20}`},
		{"signal list", minimal + "throttle: {signals: {xid_age: [1]}}\n", `j.yaml:5: throttle.signals.xid_age: is a list, not a single value`},
		{"signal order", minimal + "throttle:\n  signals:\n    archive_queue:\n      soft: 50\n", `j.yaml:7: throttle.signals.archive_queue: "{soft: 50}" has soft 50 above hard 42; soft is the one that is reached first`},
		{"signal order below", minimal + "throttle: {signals: {disk_free: {soft: 5%, hard: 10%}}}\n", `has soft 0.05 below hard 0.1, but it fires below its thresholds`},
		{"threshold", minimal + "throttle: {signals: {oldest_transaction: {soft: a while}}}\n", `j.yaml:5: throttle.signals.oldest_transaction.soft: "a while" is not a threshold; write a number, a duration like 15m, or off`},
		{"zone", minimal + "throttle:\n  windows:\n    - cron: 0 22 * * *\n      tz: Europe/Berln\n      for: 8h\n", `j.yaml:8: throttle.windows[0].tz: "Europe/Berln" is not a time zone; write an IANA zone`},
		{"zone missing", minimal + "throttle:\n  windows:\n    - {cron: 0 22 * * *, for: 8h}\n", `throttle.windows[0].tz: is missing; write an IANA zone`},
		{"never opens", minimal + "throttle:\n  windows:\n    - {cron: 0 22 30 2 *, tz: UTC, for: 8h}\n", `j.yaml:7: throttle.windows[0].cron: "0 22 30 2 *" never opens: no month has such a day`},
		{"nothing ever runs", minimal + "throttle:\n  windows:\n    - {cron: 0 22 * * *, tz: UTC, for: 8h, rate: 0}\n", `throttle.default_rate: "0" with these windows lets nothing run, ever`},
		{"cron", minimal + "throttle: {windows: [{cron: every night, tz: UTC, for: 8h}]}\n", `j.yaml:5: throttle.windows[0].cron: "every night" is not a cron expression`},
		{"window rate", minimal + "throttle: {windows: [{cron: 0 22 * * *, tz: UTC, for: 8h, rate: 50}]}\n", `j.yaml:5: throttle.windows[0].rate: "50" is not a part of the whole; write a number from 0 (stop) to 1 (full rate)`},
		{"window length", minimal + "throttle: {windows: [{cron: 0 22 * * *, tz: UTC, for: 8}]}\n", `j.yaml:5: throttle.windows[0].for: "8" is not a duration`},
		{"window field", minimal + "throttle: {windows: [{corn: 0 22 * * *, tz: UTC, for: 8h}]}\n", `j.yaml:5: throttle.windows[0].corn: is not a field of throttle.windows[0]; did you mean "cron"?`},
		{"window text", minimal + "throttle: {windows: [night]}\n", `j.yaml:5: throttle.windows[0]: is text, not fields with values; write it as {cron:`},
		{"windows mapping", minimal + "throttle: {windows: {cron: 0 22 * * *}}\n", `j.yaml:5: throttle.windows: is a mapping, not a list; write it as [{cron:`},
		{"too many windows", minimal + "throttle: {windows: [" + strings.Repeat("{}, ", 33) + "]}\n", `throttle.windows: holds 33; write at most 32`},
		{"default rate", minimal + "throttle: {default_rate: 30}\n", `j.yaml:5: throttle.default_rate: "30" is not a part of the whole`},
		{"check of nobody", minimal + "throttle:\n  checks:\n    - {name: q, soft: 1}\n", `j.yaml:7: throttle.checks[0]: asks nobody; write exactly one of sql, http and prometheus: {url, query}`},
		{"check of two", minimal + "throttle:\n  checks: [{name: q, soft: 1, sql: SELECT 1, http: http://h/}]\n", `throttle.checks[0]: asks in more than one way; write exactly one of`},
		{"check without threshold", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1}]\n", `j.yaml:6: throttle.checks[0]: has no threshold; write soft (slows), hard (stops) or both`},
		{"check order", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: 2, hard: 1}]\n", `throttle.checks[0]: has soft 2 above hard 1; soft is the one that is reached first`},
		{"check order below", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: 1, hard: 2, below: true}]\n", `throttle.checks[0]: has soft 1 below hard 2, but it fires below its thresholds`},
		{"check threshold", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: many}]\n", `throttle.checks[0].soft: "many" is not a threshold; write a number, or off`},
		{"check of HTTP with threshold", minimal + "throttle:\n  checks: [{name: q, http: http://h/, soft: 2}]\n", `throttle.checks[0]: has thresholds, but an HTTP check answers go (200) or stop (429); leave soft, hard and below out`},
		{"check name", minimal + "throttle:\n  checks: [{name: Queue Depth, sql: SELECT 1, soft: 2}]\n", `j.yaml:6: throttle.checks[0].name: "Queue Depth" is not a name; write 1 to 40 of a-z, 0-9, - and _`},
		{"check named as a signal", minimal + "throttle:\n  checks: [{name: xid_age, sql: SELECT 1, soft: 2}]\n", `throttle.checks[0].name: "xid_age" is a signal of Backfleet's own`},
		{"checks of one name", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: 2}, {name: q, sql: SELECT 2, soft: 2}]\n", `throttle.checks[1].name: "q" stands in it twice`},
		{"check interval", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: 2, every: 10ms}]\n", `throttle.checks[0].every: "10ms" is out of bounds; write a duration from 1s to 1h0m0s`},
		{"check below", minimal + "throttle:\n  checks: [{name: q, sql: SELECT 1, soft: 2, below: yes}]\n", `throttle.checks[0].below: "yes" is neither true nor false`},
		{"check address", minimal + "throttle:\n  checks: [{name: q, http: localhost/go}]\n", `throttle.checks[0].http: "localhost/go" is not an address; write an address like http://127.0.0.1:9090/health`},
		{"check address scheme", minimal + "throttle:\n  checks: [{name: q, http: 'ftp://h/'}]\n", `throttle.checks[0].http: "ftp://h/" is not an address`},
		{"Prometheus without query", minimal + "throttle:\n  checks: [{name: q, soft: 1, prometheus: {url: 'http://p'}}]\n", `throttle.checks[0].prometheus.query: is empty; write a query that gives one number`},
		{"Prometheus as text", minimal + "throttle:\n  checks: [{name: q, soft: 1, prometheus: up}]\n", `throttle.checks[0].prometheus: is text, not fields with values`},
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
		{"order", minimal + "order: ctid\n", `j.yaml:5: order: "ctid" is not known; write auto, key or block`},
		{"order without a where", minimal + "order: block\n", `j.yaml:5: order: "block" needs a ` + "`where` that the `set` makes false"},
		{"order of a statement", "name: a\ndatabase: b\ntable: t\nstatement: DELETE FROM t WHERE {{range}}\nwhere: x\norder: block\n",
			"j.yaml:6: order: \"block\" cannot be that of a `statement`"},
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
	f.Add([]byte(minimal + "throttle: {signals: {xid_age: default, autovacuum: {soft: off}}, checks: [], windows: [], default_rate: ''}\n"))
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
		if _, err := s.Schedule(); err != nil {
			t.Fatalf("accepted, yet it has no schedule: %v", err)
		}
		if len(js) > maxSpec {
			return // quotes made it longer than a file may be
		}
		if read, err := ParseSpec(js, "f.json"); err != nil || !reflect.DeepEqual(read.Limits, s.Limits) {
			t.Fatalf("its JSON is read as %+v, %v", read.Limits, err)
		}
	})
}
