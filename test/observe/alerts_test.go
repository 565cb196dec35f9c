package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

const (
	rulesDir   = "../../deploy/prometheus"
	runbookURL = "https://github.com/backfleet/backfleet/blob/main/docs/runbook/"
)

type ruleFile struct {
	Groups []struct {
		Rules []rule
	}
}

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) (text string, rules []rule) {
	t.Helper()
	raw, err := os.ReadFile(rulesDir + "/alerts.yaml")
	require.NoError(t, err)
	var file ruleFile
	require.NoError(t, yaml.Unmarshal(raw, &file))
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	require.NotEmpty(t, rules)
	return string(raw), rules
}

// Every alert says how bad it is, what it is about and what to do: a page of the runbook that speaks of it, in the list of pages.
func TestEveryAlertLeadsToAPageOfTheRunbook(t *testing.T) {
	_, rules := readRules(t)
	list, err := os.ReadFile("../../docs/runbook/README.md")
	require.NoError(t, err)
	pages := map[string]bool{"README.md": true}
	for _, r := range rules {
		require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		name, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbookURL)
		require.True(t, ok, r.Annotations["runbook_url"])
		page, err := os.ReadFile("../../docs/runbook/" + name)
		require.NoError(t, err, r.Alert)
		require.Contains(t, string(page), "# "+r.Alert+"\n")
		require.Contains(t, string(list), fmt.Sprintf("| [%s](%s) | %s |", r.Alert, name, r.Labels["severity"]))
		pages[name] = true
	}
	files, err := os.ReadDir("../../docs/runbook")
	require.NoError(t, err)
	for _, f := range files {
		require.True(t, pages[f.Name()], "%s belongs to no alert", f.Name())
	}
}

// The rules are well-formed, and each of their unit tests holds. For each alert there is one where it fires and one where it is silent.
func TestAlertRulesHoldInPromtoolsUnitTests(t *testing.T) {
	_, rules := readRules(t)
	t.Log(promtool(t, rulesDir, "", "check", "rules", "alerts.yaml"))
	t.Log(promtool(t, rulesDir, "", "test", "rules", "alerts_test.yaml"))
	raw, err := os.ReadFile(rulesDir + "/alerts_test.yaml")
	require.NoError(t, err)
	var file struct {
		Tests []struct {
			Cases []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Alerts) > 0 {
				fires[c.Name] = true
			} else {
				silent[c.Name] = true
			}
		}
	}
	for _, r := range rules {
		require.True(t, fires[r.Alert], "%s fires in no test", r.Alert)
		require.True(t, silent[r.Alert], "%s is silent in no test", r.Alert)
	}
}

// hasty is the rules with shorter times and nothing else changed: what takes a quarter of an hour in life takes seconds here.
func hasty(t *testing.T, rules string) string {
	t.Helper()
	for _, change := range []struct{ from, to string }{
		{`for: \d+m`, "for: 0s"},
		{`last_batch_timestamp_seconds\) > 600`, "last_batch_timestamp_seconds) > 8"},
		{`held_since_timestamp_seconds\) > 900`, "held_since_timestamp_seconds) > 2"},
		{`ranges_open\[15m\]`, "ranges_open[10s]"},
	} {
		re := regexp.MustCompile(change.from)
		require.Regexp(t, re, rules)
		rules = re.ReplaceAllString(rules, change.to)
	}
	return rules
}

// A Prometheus scrapes a fleet that runs. Every query of the dashboards is answered. Then one thing after another goes wrong: for each
// exactly those alerts fire that it should raise, in the end all of them, and each series that a rule names was there.
func TestAPrometheusWatchesARunningFleet(t *testing.T) {
	text, rules := readRules(t)
	f := startFleet(t)
	p := startPrometheus(t, hasty(t, text), f.targets)
	w := &watch{t: t, p: p, fired: map[string]bool{}, open: selectors(rules)}

	for kind, addresses := range f.targets {
		body := scrape(t, addresses[0])
		require.Empty(t, promtool(t, ".", body, "check", "metrics"), "the names keep Prometheus' rules")
		t.Logf("%s: %d series of Backfleet", kind, strings.Count(body, "\nbackfleet_"))
	}
	began := time.Now()
	n := p.answered(t, dashboards(t))
	t.Logf("%d queries of the dashboards answered within %s", n, time.Since(began).Round(time.Second))

	usual := map[string][]string{"BackfleetQuarantineGrowing": {"norm"}, "BackfleetJobFailed": {"doomed"}}
	w.until("one row is in quarantine and one job has failed", usual)

	f.gate.Store(http.StatusInternalServerError)
	w.until("a check cannot be read, which holds the fleet",
		with(usual, map[string][]string{"BackfleetGovernorBlind": {"gate"}, "BackfleetFleetHeld": {""}}))
	w.seen()
	f.gate.Store(http.StatusOK)
	w.until("the check is back", usual)

	f.deleteStream()
	w.until("the stream was deleted", with(usual, map[string][]string{"BackfleetStreamApart": {""}}))
	await(t, "what was lost is counted", func(ctx context.Context) error {
		all, err := p.query(ctx, "sum(backfleet_stream_lost_messages_total) > 0")
		return errors.Join(err, some(len(all)))
	})
	w.until("the next comparison finds all as it should be", usual)

	kill(t, f.workers)
	w.until("all workers are dead", with(usual, map[string][]string{
		"BackfleetNoWorkers": {""}, "BackfleetJobStalled": {"norm"}, "BackfleetLagNotFalling": {"norm"},
	}))
	await(t, "their leases ran out", func(ctx context.Context) error {
		all, err := p.query(ctx, "sum(backfleet_leases_expired_total) > 0")
		return errors.Join(err, some(len(all)))
	})

	f.exec("ALTER TABLE backfleet.jobs RENAME TO away")
	w.until("the ledger cannot be read", map[string][]string{"BackfleetLedgerUnread": {"", ""}})
	f.exec("ALTER TABLE backfleet.away RENAME TO jobs")

	kill(t, f.coordinators)
	w.until("all coordinators are dead", map[string][]string{"BackfleetLeaderMissing": {""}})

	for _, r := range rules {
		require.True(t, w.fired[r.Alert], "%s never fired", r.Alert)
	}
	require.Empty(t, w.open, "rules name series that were never there")
}

// watch follows what fires, and which series of the rules were seen.
type watch struct {
	t     *testing.T
	p     prometheus
	fired map[string]bool
	open  []string // selectors of the rules for which there was no series yet
}

// until waits until exactly these alerts fire.
func (w *watch) until(what string, expected map[string][]string) {
	w.t.Helper()
	w.seen()
	took := await(w.t, what, func(ctx context.Context) error {
		now, err := w.p.firing(ctx)
		if err != nil {
			return err
		}
		for name := range now {
			slices.Sort(now[name])
			w.fired[name] = true
		}
		if !reflect.DeepEqual(now, expected) {
			return fmt.Errorf("%v fire, not %v", now, expected)
		}
		return nil
	})
	w.t.Logf("%s: %v after %s", what, slices.Sorted(maps.Keys(expected)), took.Round(100*time.Millisecond))
}

// seen strikes out the selectors for which there is a series now.
func (w *watch) seen() {
	w.t.Helper()
	w.open = slices.DeleteFunc(w.open, func(selector string) bool {
		all, err := w.p.query(w.t.Context(), selector)
		require.NoError(w.t, err)
		return len(all) > 0
	})
}

var selector = regexp.MustCompile(`backfleet_[a-z_]+(\{[^}]*\})?`)

// selectors are the series that the rules name.
func selectors(rules []rule) (all []string) {
	for _, r := range rules {
		all = append(all, selector.FindAllString(r.Expr, -1)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// with joins what fires anyway with what is added.
func with(usual, more map[string][]string) map[string][]string {
	all := maps.Clone(usual)
	maps.Copy(all, more)
	return all
}
