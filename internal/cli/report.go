package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
	"github.com/backfleet/backfleet/ranges"
)

func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report JOB",
		Short: "Show the proof of a job",
		Long: `Show the proof of a job: coverage, residual and check, then figures, quarantined rows and who did what. Before the
end it shows as much as there is. The exit code is that of the job's end: 0, 3 or 4 (backfleet help exit-codes).`,
		Example: `  backfleet report users-email-norm
  backfleet report users-email-norm -o json > report.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(false),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			r, err := c.Report(ctx, name)
			if err != nil {
				return err
			}
			return a.showReport(r)
		}),
	}
}

// showReport prints a report and ends with its exit code.
func (a *app) showReport(r job.Report) error {
	if err := a.print(r, func(w io.Writer) { reportText(w, r) }); err != nil {
		return err
	}
	if code := stateExit(r.State); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// shown bounds how many rows, events or gaps a text report lists; JSON has all.
const shown = 20

// reportText writes a report, the proof first.
func reportText(w io.Writer, r job.Report) {
	verdict := string(r.State)
	if r.Verified {
		verdict += ", verified"
	}
	say(w, "%s: %s", r.Name, verdict)
	if r.Reason != "" {
		say(w, "reason: %s", r.Reason)
	}
	say(w, "%s in database %s, job %s, spec %s", r.Table, r.Database, r.Job, r.SpecHash[:min(12, len(r.SpecHash))])

	say(w, "\nProof")
	proofText(w, r)
	say(w, "\nFigures")
	figuresText(w, r)

	if r.Forecast != nil && r.Outcome != nil {
		say(w, "\nForecast and outcome")
		outcomeText(w, *r.Forecast, *r.Outcome, r.State)
	}
	section(w, "Lost, in parts of the run", r.Lost, func(l job.Loss) string { return fmt.Sprintf("%s  %s", words.Percent(l.Share), l.Signal) })

	section(w, "Quarantined rows", r.Quarantined, func(q job.Quarantined) string {
		text := q.Error
		if !strings.Contains(text, q.SQLState) {
			text += " (SQLSTATE " + q.SQLState + ")"
		}
		return fmt.Sprintf("%s key %s: %s; %s, by %s", q.Relation, q.Key, text, words.Plural(q.Attempts, "attempt"), q.By)
	})
	section(w, "Keys that reappeared or fail the check", r.Samples, ranges.Key.String)
	section(w, "Workers, by the ranges that each was last to carry", r.Workers, func(t job.WorkerTotal) string {
		return fmt.Sprintf("%s: %s, %s", t.Worker, words.Plural(t.Ranges, "range"), words.Plural(t.Rows, "row"))
	})
	events := slices.Clone(r.Events)
	slices.SortFunc(events, func(a, b job.Event) int { return int(a.ID - b.ID) })
	section(w, "Who did what", events, func(e job.Event) string {
		return fmt.Sprintf("%s  %s by %s%s", words.At(e.At), e.Action, e.By, detailText(e.Detail))
	})
	if r.Promise != "" && r.State == job.Complete { // else not yet, or not of every row
		say(w, "\n%s", r.Promise)
	}
}

func proofText(w io.Writer, r job.Report) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(key, format string, args ...any) {
		_, _ = fmt.Fprintf(tw, "  %s\t%s\n", key, fmt.Sprintf(format, args...))
	}
	for _, c := range r.Coverage {
		switch {
		case len(c.Gaps) > 0:
			row("coverage", "%s: %s; NOT whole", c.Relation, words.Plural(c.Ranges, "range"))
			for i, g := range c.Gaps {
				if i == shown {
					row("", "and %d more", len(c.Gaps)-shown)
					break
				}
				row("", "%s", g)
			}
		case c.Bound == nil:
			row("coverage", "%s: was empty", c.Relation)
		default:
			row("coverage", "%s: %s, no gap, no overlap, all done up to %s %s", c.Relation, words.Plural(c.Ranges, "range"), boundOf(r), c.Bound)
		}
	}
	if len(r.Coverage) == 0 {
		row("coverage", "not planned yet")
	}
	left := func(n *int64, none, unit string) string {
		switch {
		case r.Rounds == 0:
			return "not counted yet"
		case n == nil:
			return none
		}
		return words.Plural(*n, "row") + " " + unit
	}
	row("residual", "%s", left(r.Residual, "the spec has no `where`", "left that match `where`"))
	row("check", "%s", left(r.CheckFails, "the spec has no `check`", "failing"))
	row("verified", "%s, %s repaired", words.Plural(r.Rounds, "round"), words.Plural(r.Repaired, "row"))
	if look := r.LastLook; look != nil {
		row("last look", "the whole table in one snapshot, %s in %s blocks at %s", words.Plural(look.Rows, "row"), words.Count(look.Blocks), words.At(look.At))
	}
	row("quarantine", "%s", words.Plural(int64(len(r.Quarantined)), "row"))
	for _, d := range r.Dropped {
		row("dropped", "%s", d)
	}
	for i, s := range r.Skipped {
		if i == shown {
			row("skipped", "and %d more", len(r.Skipped)-shown)
			break
		}
		row("skipped", "range %s", s)
	}
	_ = tw.Flush()
}

// boundOf says what a bound of the report is.
func boundOf(r job.Report) string {
	if r.Order == job.OrderBlock {
		return "the table's end, row address"
	}
	return "key"
}

func figuresText(w io.Writer, r job.Report) {
	figures := [][2]string{
		{"rows written", words.Count(r.Rows)}, {"batches", words.Count(r.Batches)}, {"retries", words.Count(r.Retries)}, {"take-overs", words.Count(r.Takeovers)},
		{"rows a second", words.Count(int64(math.Round(r.RowsPerSec)))}, {"duration", words.Long(r.Duration.D())},
	}
	width := 0
	for _, f := range figures {
		width = max(width, len(f[1]))
	}
	for _, f := range figures {
		say(w, "  %-13s  %*s", f[0], width, f[1])
	}
	say(w, "  %-13s  %s", "submitted", words.At(r.Submitted))
	if r.Started != nil {
		say(w, "  %-13s  %s", "started", words.At(*r.Started))
	}
	if r.Ended != nil {
		say(w, "  %-13s  %s", "ended", words.At(*r.Ended))
	}
}

// outcomeText holds what was forecast against what came.
func outcomeText(w io.Writer, f job.Forecast, o job.Outcome, state job.State) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, said, came string) { _, _ = fmt.Fprintf(tw, "  %s\t%s\t%s\n", what, said, came) }
	came := func(n *int64, whose string) string {
		switch {
		case n == nil:
			return "not known"
		case *n < 0:
			return "-" + words.Size(-*n) + whose
		}
		return words.Size(*n) + whose
	}
	between := func(a job.Amount, text func(int64) string) string {
		if low, high := text(a.Low), text(a.High); low != high {
			return low + " to " + high
		}
		return text(a.Low)
	}
	so := ""
	if !state.Ended() {
		so = " so far"
	}
	row("duration", words.Within(f.Duration.Low, f.Duration.High), words.Long(o.Duration.D())+so)
	row("rows written", between(f.Rows, words.Count[int64]), words.Count(o.Rows)+so)
	row("WAL", between(f.WAL, words.Size), came(o.WAL, so+", of the whole server"))
	row("table growth", between(f.Heap, words.Size), came(o.Heap, so))
	row("index growth", between(f.Index, words.Size), came(o.Index, so))
	_ = tw.Flush()
	say(w, "  forecast at %s, limited by %s", words.At(f.At), f.Binding)
}

// section lists items under a title, none at all when there are none.
func section[T any](w io.Writer, title string, items []T, text func(T) string) {
	if len(items) == 0 {
		return
	}
	say(w, "\n%s", title)
	for i, it := range items {
		if i == shown {
			say(w, "  and %s more; -o json has all", words.Count(len(items)-shown))
			return
		}
		say(w, "  %s", text(it))
	}
}

// detailText tells what an event changed: the reason, and old and new where they are plain values.
func detailText(d map[string]any) string {
	text := ""
	before, limits := d["old"].(map[string]any)
	if after, both := d["new"].(map[string]any); limits && both {
		if changes := changed("", before, after); len(changes) > 0 {
			text = ": " + words.Clip(strings.Join(changes, ", "), 160)
		}
	}
	old, was := d["old"].(string)
	if to, is := d["new"].(string); is && was {
		text = fmt.Sprintf(": %s → %s", old, to)
	} else if is {
		text = ": " + to
	}
	if r, ok := d["reason"].(string); ok && r != "" {
		text += " (" + r + ")"
	}
	return text
}

// changed lists the values that differ between two readings of a job's limits or a database's rules, by their paths.
func changed(at string, before, after map[string]any) []string {
	all := map[string]any{} // either may be nil: a part that was not there
	maps.Copy(all, before)
	maps.Copy(all, after)
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, old := before[name].(map[string]any)
		is, now := after[name].(map[string]any)
		switch path := strings.TrimPrefix(at+"."+name, "."); {
		case old || now:
			changes = append(changes, changed(path, was, is)...)
		case !reflect.DeepEqual(before[name], after[name]):
			changes = append(changes, fmt.Sprintf("%s %s → %s", path, jsonText(before[name]), jsonText(after[name])))
		}
	}
	return changes
}

func jsonText(v any) string {
	switch v := v.(type) {
	case nil:
		return "unset"
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
