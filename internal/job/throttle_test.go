package job

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
)

func parsed(t *testing.T, throttle string) Limits {
	t.Helper()
	s, err := ParseSpec([]byte(minimal+"throttle: "+throttle+"\n"), "j.yaml")
	require.NoError(t, err)
	return s.Limits
}

func TestRulesAreTheBuiltinOnesUnderOverrides(t *testing.T) {
	plain := parsed(t, "{}").Rules()
	require.Equal(t, 20.0, plain["archive_queue"].Soft)
	require.NotContains(t, plain, "io_operations", "without a threshold it is not read")
	rules := parsed(t, `{signals: {archive_queue: {hard: 30}, autovacuum: off, disk_free: {soft: 25%, hard: off}, oldest_transaction: {hard: 1h},
		io_operations: {soft: 5000}}, checks: [{name: q, sql: SELECT 1, hard: 7, below: true, every: 2s}, {name: go, http: "http://h/"}]}`).Rules()
	require.Equal(t, [2]float64{20, 30}, [2]float64{rules["archive_queue"].Soft, rules["archive_queue"].Hard})
	require.NotContains(t, rules, "autovacuum")
	require.InDelta(t, 0.25, rules["disk_free"].Soft, 0)
	require.True(t, math.IsNaN(rules["disk_free"].Hard) && rules["disk_free"].Below)
	require.InDelta(t, 3600, rules["oldest_transaction"].Hard, 0)
	require.InDelta(t, 5000, rules["io_operations"].Soft, 0)
	require.True(t, rules["q"].Closed && rules["q"].Below && math.IsNaN(rules["q"].Soft))
	require.InDelta(t, 7, rules["q"].Hard, 0)
	require.Equal(t, 5*time.Second, rules["q"].Blind)
	require.Equal(t, throttle.UnitVerdict, rules["go"].Unit)
	require.Equal(t, 42.0, throttle.Defaults()["archive_queue"].Hard, "the defaults stay")
}

func TestTheStrictestRulesOfAllJobsCount(t *testing.T) {
	named := func(name, throttle string) Job { return Job{Name: name, Limits: parsed(t, throttle)} }
	rules, checks := Strictest([]Job{
		named("a", `{signals: {archive_queue: {soft: off, hard: 30}, disk_free: off, autovacuum: off}, checks: [{name: q, sql: SELECT 1, hard: 7}]}`),
		named("b", `{signals: {archive_queue: {soft: 25, hard: 40}, disk_free: {soft: 0.3}, autovacuum: off}, checks: [{name: q, sql: SELECT 1, hard: 7}]}`),
		named("c", `{signals: {autovacuum: off}, checks: [{name: q, sql: SELECT 1, hard: 5}]}`),
	})
	require.Equal(t, [2]float64{20, 30}, [2]float64{rules["archive_queue"].Soft, rules["archive_queue"].Hard})
	require.Equal(t, [2]float64{0.3, 0.1}, [2]float64{rules["disk_free"].Soft, rules["disk_free"].Hard})
	require.NotContains(t, rules, "autovacuum", "off for all of them")
	require.Len(t, checks, 2)
	require.Equal(t, [2]string{"q", "q@c"}, [2]string{checks[0].Name, checks[1].Name})
	require.Equal(t, [2]float64{7, 5}, [2]float64{rules["q"].Hard, rules["q@c"].Hard})
}

func TestAScheduleUnderAnOverride(t *testing.T) {
	noon, night := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC), time.Date(2026, 1, 5, 23, 0, 0, 0, time.UTC)
	rate := func(s throttle.Schedule, err error) func(time.Time) float64 {
		require.NoError(t, err)
		return func(at time.Time) float64 { r, _ := s.At(at); return r }
	}
	require.InDelta(t, 1, rate(parsed(t, "{}").Schedule())(noon), 0)
	at := rate(parsed(t, `{windows: [{cron: 0 22 * * *, tz: Europe/Berlin, for: 8h}], default_rate: 0.3}`).Schedule())
	require.InDelta(t, 0.3, at(noon), 0)
	require.InDelta(t, 1, at(night), 0)
	only, err := parsed(t, `{windows: [{cron: 0 22 * * *, tz: Europe/Berlin, for: 8h}]}`).Schedule()
	require.InDelta(t, 0, rate(only, err)(noon), 0)
	over := DatabaseRules{Override: &Override{Rate: 0.5, Until: noon.Add(time.Hour), By: "ann"}}.Apply(only)
	require.InDelta(t, 0.5, rate(over, nil)(noon), 0)
	require.InDelta(t, 0, rate(over, nil)(noon.Add(time.Hour)), 0)
	require.InDelta(t, 1, rate(over, nil)(night), 0)
	require.Equal(t, only, DatabaseRules{}.Apply(only))
}

// A spec is kept in the ledger, logged and shown, so no address in it may hold a secret, and no refusal repeats one.
func TestNoCredentialsInAnAddress(t *testing.T) {
	for _, address := range []string{
		"http://app:c4n4ry@h/", "http://c4n4ry@h/", "https://h/?token=c4n4ry", "https://h/go?x=1&api_key=c4n4ry", "https://h/?Password=c4n4ry", "http://app:c4n4ry@:port/",
	} {
		for _, check := range []string{"{name: q, http: '" + address + "'}", "{name: q, soft: 1, prometheus: {url: '" + address + "', query: up}}"} {
			_, err := ParseSpec([]byte(minimal+"throttle: {checks: ["+check+"]}\n"), "j.yaml")
			require.Error(t, err)
			require.Regexp(t, `j.yaml:5: throttle.checks\[0\].(http|prometheus.url): (holds credentials|holds a parameter that looks like a credential|is not an address)`, err.Error())
			require.NotContains(t, err.Error(), "c4n4ry")
			_, _, err = defaultLimits().Set(map[string]string{"throttle.checks": "[" + check + "]"})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "c4n4ry")
			_, _, err = defaultLimits().Set(map[string]string{"throttle.checks": "[" + strings.TrimSuffix(check, "}")})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "c4n4ry")
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "20MiB": 20 << 20, "20 mib": 20 << 20, "1.5GiB": 3 << 29, "8KB": 8000, "12345": 12345, "7B": 7, "1TiB": 1 << 40, "1TB": 1e12,
	} {
		var b Bytes
		require.NoError(t, b.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, b, text)
		var again Bytes
		require.NoError(t, again.UnmarshalText([]byte(b.String())))
		require.Equal(t, b, again, "%s is written as %s", text, b)
	}
	for _, text := range []string{"", "MiB", "-1", "1e9", "0x10", "1.2.3", "inf", "20MiB/s", "20 parsecs", "9999999999999TiB"} {
		var b Bytes
		require.Error(t, b.UnmarshalText([]byte(text)), text)
	}
	require.Equal(t, [4]string{"20MiB", "8KB", "12345", "0"}, [4]string{Bytes(20 << 20).String(), Bytes(8000).String(), Bytes(12345).String(), Bytes(0).String()})
}
