package phase

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/words"
)

// Operations is the operational plan of a migration: what people must know and agree on before the first step.
type Operations struct {
	Migration string    `json:"migration"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	Rows      int64     `json:"rows"`
	People    []string  `json:"people"` // who is told, and who is on call
	Text      string    `json:"text"`   // the whole of it, as Markdown

	Forecast *job.Forecast `json:"forecast,omitempty"`
}

// Plan writes the operational plan and keeps it. Over 100M rows it demands what must not be left to a default: people to tell, the lag that
// the replicas may have, a budget of I/O, and windows; it refuses, with a line for each that is missing.
func (g *Guard) Plan(ctx context.Context, name string, people []string) (Operations, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return Operations{}, err
	}
	if err := over(m, "plan"); err != nil {
		return Operations{}, err
	}
	if err := demanded(m, people).Err(); err != nil {
		return Operations{}, err
	}
	now, err := g.now(ctx)
	if err != nil {
		return Operations{}, err
	}
	plan, proxy, err := g.forecast(ctx, m)
	if err != nil {
		return Operations{}, err
	}
	ops := Operations{Migration: name, At: now, By: g.By, Rows: m.Facts.Rows, People: people, Forecast: plan.Forecast}
	ops.Text = document(m, ops, plan, proxy)
	_, err = g.take(ctx, name, step{action: "plan", do: func(_ context.Context, _ pgx.Tx, _ migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if facts.Planned == nil {
			facts.Planned = &now
		}
		return map[string]any{"plan": ops}, nil
	}})
	return ops, err
}

// demanded are the fields that a huge table's plan cannot go without.
func demanded(m migration.Migration, people []string) (rs job.Refusals) {
	if m.Facts.Rows < migration.HugeTable {
		return nil
	}
	size := "is missing, and the table has " + words.Count(m.Facts.Rows) + " rows"
	if len(people) == 0 {
		rs = append(rs, job.Refusal{Field: "people", Why: size, Fix: "name who is told and who is on call, as in --people dba-oncall,#payments"})
	}
	rules := m.Spec.Backfill.Throttle
	if len(rules.Windows) == 0 {
		rs = append(rs, job.Refusal{Field: "backfill.throttle.windows", Why: size, Fix: `write when it may run, like windows: [{cron: "0 22 * * *", tz: Europe/Berlin, for: 8h}]; "0 0 * * *" for 24h is always`})
	}
	if io := rules.Signals["io_operations"]; io == (job.SignalRule{}) && !slices.ContainsFunc(rules.Checks, func(c job.Check) bool { return c.Prometheus != job.PrometheusQuery{} }) {
		rs = append(rs, job.Refusal{Field: "backfill.throttle.signals.io_operations", Why: size,
			Fix: "write the I/O operations a second that the volume may do, like {soft: 8000}, or ask Prometheus for the device's in backfill.throttle.checks"})
	}
	return rs
}

// forecast runs the preflight of the backfill. Before the new schema is there it writes a column to itself instead, and says so.
func (g *Guard) forecast(ctx context.Context, m migration.Migration) (plan preflight.Plan, proxy string, err error) {
	spec := m.Spec.Job()
	if m.Facts.Expanded == nil {
		old, err := g.harmless(ctx, m.Spec)
		if err != nil || old == "" {
			return plan, "The new schema is not there yet, and the table has no column that sample batches could write to itself: plan again after phase 1.", err
		}
		spec.Set = map[string]string{old: pgx.Identifier{old}.Sanitize()}
		spec.Statement, spec.Where, spec.Check, spec.LateRows = "", "", "", "ignore"
		proxy = "The new schema is not there yet, so the sample batches wrote the column " + old + " to itself."
	}
	sampling := preflight.PlanSampling
	if rules, _, err := g.Store.Throttle(ctx); err == nil {
		sampling.Rules = rules
	}
	plan, err = preflight.Check(ctx, g.Pool, spec, preflight.Options{Sample: &sampling, SearchPath: m.Facts.SearchPath})
	return plan, proxy, err
}

// harmless is a column that may be written to itself, an old one if possible; empty: there is none.
func (g *Guard) harmless(ctx context.Context, spec migration.Spec) (name string, err error) {
	table, err := catalog.Load(ctx, g.Pool, spec.Table, spec.Backfill.Key)
	if err != nil {
		return "", err
	}
	for _, c := range table.Columns {
		old := slices.Contains(spec.From.Columns, c.Name)
		inKey := slices.ContainsFunc(table.Key, func(k job.Column) bool { return k.Name == c.Name })
		if c.Generated || c.Identity == "always" || inKey || slices.Contains(table.PartitionKey, c.Name) || name != "" && !old {
			continue
		}
		if name = c.Name; old {
			break
		}
	}
	return name, nil
}

// document is the plan as people read it.
func document(m migration.Migration, ops Operations, plan preflight.Plan, proxy string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	s := m.Spec
	line("# Operational plan: %s", s.Name)
	line("")
	line("Database %s, table %s with %s rows (%s, indexes %s). Written by %s at %s.", s.Database, s.Table, words.Count(m.Facts.Rows), words.Size(plan.TableBytes),
		words.Size(plan.IndexBytes), ops.By, words.At(ops.At))
	line("")
	line("## People")
	for _, p := range ops.People {
		line("- %s", p)
	}
	if len(ops.People) == 0 {
		line("- nobody was named")
	}
	line("")
	line("## Forecast of the backfill")
	if f := plan.Forecast; f != nil {
		line("- duration %s, with the windows; rows alone %s, verification %s", words.Within(f.Duration.Low, f.Duration.High), words.Within(f.Fill.Low, f.Fill.High), words.Within(f.Proof.Low, f.Proof.High))
		line("- %s to %s rows/s, limited by %s", words.Count(f.Rate.Low), words.Count(f.Rate.High), f.Binding)
		line("- WAL %s to %s; the table grows by %s to %s, its indexes by %s to %s", words.Size(f.WAL.Low), words.Size(f.WAL.High), words.Size(f.Heap.Low), words.Size(f.Heap.High),
			words.Size(f.Index.Low), words.Size(f.Index.High))
	} else {
		line("- none could be made; the warnings say why")
	}
	if proxy != "" {
		line("- %s", proxy)
	}
	line("")
	line("## Replicas and budgets")
	for _, r := range plan.Replicas {
		line("- replica %s: %s, lag now %.1f s", r.Name, r.State, r.Lag)
	}
	if len(plan.Replicas) == 0 {
		line("- the primary sees no replica")
	}
	rules := s.Backfill.Throttle
	line("- lag: target %s, soft %s, hard %s", rules.Lag.Target, rules.Lag.Soft, rules.Lag.Hard)
	line("- rows a second: %s; WAL bytes a second: %s", unlimited(int64(rules.MaxRowsPerSecond), words.Count[int64]), unlimited(int64(rules.MaxWALBytesPerSecond), words.Size))
	for _, name := range sortedKeys(rules.Signals) {
		line("- signal %s: soft %s, hard %s", name, cmp.Or(rules.Signals[name].Soft, "as by default"), cmp.Or(rules.Signals[name].Hard, "as by default"))
	}
	line("")
	line("## Windows")
	for _, w := range rules.Windows {
		line("- %q in %s for %s", w.Cron, w.TZ, w.For)
	}
	if len(rules.Windows) == 0 {
		line("- at any time")
	}
	line("")
	line("## Phases")
	line("1. expand: additive DDL, with lock_timeout and retries")
	line("2. dual-write: at least %s without divergence", s.Soak.DualWrite)
	line("3. backfill: %s ranges; complete means verified", words.Count(plan.Ranges))
	line("4. switch reads: 1 %%, 10 %%, 100 %%, then %s", s.Soak.Reads)
	line("5. contract: dual-write stops, %s pass, the drop is rehearsed, then the old schema goes", s.Soak.Drop)
	line("")
	line("## Warnings")
	for _, w := range plan.Warnings {
		line("- %s: %s; %s", w.Subject, w.Text, w.Fix)
	}
	if len(plan.Warnings) == 0 {
		line("- none")
	}
	line("")
	line("## The way back")
	line("- until reads switch: `backfleet phase abandon %s` takes the trigger away; nothing reads the new schema", s.Name)
	line("- while reads switch: `backfleet phase rollback %s`, one command", s.Name)
	line("- any moment: `SELECT backfleet.hold('10 minutes')` from any psql stops every batch")
	return b.String()
}

func unlimited(n int64, text func(int64) string) string {
	if n == 0 {
		return "no cap"
	}
	return text(n)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
