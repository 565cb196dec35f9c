package job

import (
	"reflect"
	"strings"
	"testing"
)

// set changes one value and returns the text of the value before.
func set(l Limits, path, value string) (Limits, string, error) {
	next, changes, err := l.Set(map[string]string{path: value})
	if err != nil {
		return next, "", err
	}
	return next, changes[0].Old, nil
}

func TestLimitsSet(t *testing.T) {
	base := defaultLimits()
	for _, c := range []struct{ path, value, old string }{
		{"weight", "7", "1"},
		{"workers.max", "2", "16"},
		{"batch.target", "100ms", "25ms"},
		{"batch.max_rows", "50", "10000"},
		{"batch.synchronous_commit", "remote_apply", "off"},
		{"throttle.lag.target", "2s", "1s"},
		{"throttle.lag.soft", "6s", "5s"},
		{"throttle.lag.hard", "1m0s", "10s"},
		{"throttle.max_rows_per_second", "2000", "0"},
		{"throttle.max_wal_bytes_per_second", "20MiB", "0"},
		{"throttle.replicas.a.b", "ignore", ""},
		{"throttle.default_rate", "0.3", ""},
		{"throttle.windows", `[{"cron":"0 22 * * *","tz":"Europe/Berlin","for":"8h0m0s","rate":1}]`, ""},
		{"throttle.checks", `[{"name":"queue","sql":"SELECT 1","soft":"100","every":"5s"}]`, ""},
		{"throttle.checks", "[]", ""},
		{"throttle.signals.archive_queue", "off", ""},
		{"throttle.signals.archive_queue.soft", "10", ""},
		{"throttle.signals.archive_queue.hard", "off", ""},
		{"throttle.signals.oldest_transaction.hard", "1h", ""},
		{"throttle.signals.disk_free.soft", "25%", ""},
		{"throttle.signals.disk_free", "{soft: 6%, hard: 3%}", ""},
		{"on_error.quarantine_rows", "0", "100"},
		{"throttle.max_growth", "1.3", "0"},
		{"verify.snapshot", "0s", "10m0s"},
	} {
		next, old, err := set(base, c.path, c.value)
		if err != nil || old != c.old {
			t.Errorf("Set(%s) = old %q, %v", c.path, old, err)
			continue
		}
		if _, back, err := set(next, c.path, c.value); err != nil || back != strings.TrimPrefix(c.value, "[]") {
			t.Errorf("after Set(%s, %s) it reads %q, %v", c.path, c.value, back, err)
		}
	}
	if !reflect.DeepEqual(base, defaultLimits()) {
		t.Errorf("Set changed its receiver: %+v", base)
	}
	off, _, _ := set(base, "throttle.signals.xid_age", "off")
	if again, old, err := set(off, "throttle.signals.xid_age", "default"); err != nil || old != "off" || !reflect.DeepEqual(again, base) {
		t.Errorf("off and back to the default is not where it began: %+v, %v", again.Throttle, err)
	}
	both, changes, err := base.Set(map[string]string{"throttle.default_rate": "0", "throttle.windows": "[{cron: 0 22 * * *, tz: UTC, for: 1h, rate: 1}]"})
	if err != nil || len(changes) != 2 || both.Throttle.Windows[0].Rate != 1 {
		t.Errorf("values that are right only together are refused: %v", err)
	}
	with, _, _ := set(base, "throttle.replicas.a", "ignore")
	if _, _, err := set(with, "throttle.replicas.a", "hold"); err != nil || with.Throttle.Replicas["a"] != "ignore" {
		t.Errorf("Set wrote into a shared map: %v, %v", with.Throttle.Replicas, err)
	}
}

func TestLimitsSetRefuses(t *testing.T) {
	for _, c := range []struct{ path, value, want string }{
		{"throttle.max_rows", "1", `throttle.max_rows: is not a setting that can change; did you mean "throttle.max_rows_per_second"?`},
		{"where", "true", `where: is not a setting that can change`},
		{"workers.max", "x", `workers.max: "x" is not a whole number`},
		{"throttle.lag.hard", "2s", `throttle.lag.hard: "2s" is below soft 5s`},
		{"throttle.replicas.", "hold", `names no replica`},
		{"throttle.signals.archve_queue", "off", `throttle.signals.archve_queue: is not a setting that can change; did you mean "throttle.signals.archive_queue"?`},
		{"throttle.signals.probe.soft", "-1", `throttle.signals.probe: "{soft: -1}" has a threshold of -1, which is always reached; write one above 0, or off`},
		{"throttle.signals.disk_free.hard", "150%", `"{hard: 150%}" has a threshold of 150 %, which is always reached; write one below 100%, or off`},
		{"throttle.signals", "off", `throttle.signals: is not a setting that can change; one of throttle.signals.active_backends, throttle.signals.archive_queue`},
		{"throttle.lag", "5s", `throttle.lag: is not a setting that can change; one of throttle.lag.target, throttle.lag.soft, throttle.lag.hard`},
		{"throttle.signals.archive_queue.hart", "30", `did you mean "throttle.signals.archive_queue.hard"?`},
		{"throttle.signals.archive_queue.hard", "10", `throttle.signals.archive_queue: "{hard: 10}" has soft 20 above hard 10; soft is the one that is reached first`},
		{"throttle.signals.disk_free.soft", "5%", `throttle.signals.disk_free: "{soft: 5%}" has soft 0.05 below hard 0.1, but it fires below its thresholds`},
		{"throttle.signals.archive_queue.hard", "10 min", `throttle.signals.archive_queue.hard: "10 min" is not a threshold; write a number, or off`},
		{"throttle.signals.oldest_xmin", "on", `throttle.signals.oldest_xmin: "on" is neither off nor default; write thresholds as {soft: 10, hard: 20}`},
		{"throttle.signals.oldest_xmin", "{max: 3}", `throttle.signals.oldest_xmin: "{max: 3}" has no threshold "max"; write thresholds as {soft: 10, hard: 20}`},
		{"throttle.signals.disk_free", "{soft: much}", `throttle.signals.disk_free: "{soft: much}" has a soft that is not a threshold; write a`},
		{"throttle.signals.disk_free", "{soft: 3%, hard: 6%}", `throttle.signals.disk_free: "{soft: 3%, hard: 6%}" has soft 0.03 below hard 0.06, but it fires below its thresholds`},
		{"throttle.signals.disk_free", "{soft: 3%", `throttle.signals.disk_free: "{soft: 3%" is neither off nor default; write thresholds as`},
		{"throttle.default_rate", "30", `throttle.default_rate: "30" is not a part of the whole; write a number from 0 (stop) to 1 (full rate)`},
		{"throttle.default_rate", "0", `throttle.default_rate: "0" without windows lets nothing run, ever`},
		{"throttle.windows", "0 22 * * *", `throttle.windows: is text, not a list; write it as [{cron: "0 22 * * *", tz: Europe/Berlin, for: 8h, rate: 1.0}]`},
		{"throttle.windows", "[{cron: ", `throttle.windows: not valid YAML`},
		{"throttle.windows", "[{cron: 0 22 * * *, tz: Europe/Berln, for: 8h}]", `throttle.windows[0].tz: "Europe/Berln" is not a time zone; write an IANA zone`},
		{"throttle.windows", "", `throttle.windows: is empty; write it in one line`},
		{"throttle.checks", "[{name: q, sql: SELECT 1, soft: 1, evry: 5s}]", `throttle.checks[0].evry: is not a field of throttle.checks[0]; did you mean "every"?`},
	} {
		next, _, err := set(defaultLimits(), c.path, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Set(%s, %s) = %v, want %s", c.path, c.value, err, c.want)
		}
		if !reflect.DeepEqual(next, defaultLimits()) {
			t.Errorf("a refused Set(%s) changed the limits", c.path)
		}
	}
}

func TestSplitTable(t *testing.T) {
	for _, c := range []struct{ text, schema, name string }{
		{"users", "", "users"},
		{"public.Users", "public", "Users"},
		{"a.b.c", "a", "b.c"},
		{`we"ird; drop table x`, "", `we"ird; drop table x`},
		{`"we""ird; drop table x"`, "", `we"ird; drop table x`},
		{`"s"."t"`, "s", "t"},
		{`"s.1"."t.2"`, "s.1", "t.2"},
		{`s."t"`, "s", "t"},
		{`"s".t.u`, "s", "t.u"},
	} {
		schema, name, err := SplitTable(c.text)
		if err != nil || schema != c.schema || name != c.name {
			t.Errorf("SplitTable(%q) = %q, %q, %v", c.text, schema, name, err)
		}
	}
	for _, text := range []string{"", ".", "a.", ".b", `"a`, `""`, `"a"b`, `"a"."b"c`, `"a"."b`, strings.Repeat("x", 64), "a\x00b"} {
		if schema, name, err := SplitTable(text); err == nil {
			t.Errorf("SplitTable(%q) = %q, %q, accepted", text, schema, name)
		}
	}
}

func TestHashAndDiff(t *testing.T) {
	base := Spec{Name: "j", Database: "main", Table: "users", Set: map[string]string{"a": "1", "b": "2"}}
	for name, change := range map[string]func(*Spec){
		"name":           func(s *Spec) { s.Name = "k" },
		"database":       func(s *Spec) { s.Database = "other" },
		"table":          func(s *Spec) { s.Table = "app.users" },
		"set":            func(s *Spec) { s.Set = map[string]string{"a": "1"} },
		"where":          func(s *Spec) { s.Where = "a IS NULL" },
		"key":            func(s *Spec) { s.Key = []string{"id"} },
		"check":          func(s *Spec) { s.Check = "a = 1" },
		"late_rows":      func(s *Spec) { s.LateRows = "ignore" },
		"order":          func(s *Spec) { s.Order = OrderKey },
		"rows_per_range": func(s *Spec) { s.RowsPerRange = 7 },
	} {
		other := base
		change(&other)
		if d := Diff(base, other); len(d) != 1 || d[0] != name || base.Hash() == other.Hash() {
			t.Errorf("a change of %s gives %v", name, d)
		}
	}
	same := base
	same.Table, same.RowsPerRange, same.Weight = `"public"."users"`, DefaultRowsPerRange, 9
	if d := Diff(base, same); len(d) != 0 || base.Hash() != same.Hash() {
		t.Errorf("the same job differs in %v", d)
	}
}
