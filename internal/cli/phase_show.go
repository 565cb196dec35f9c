package cli

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/words"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// listMigrations shows where each migration stands, over all databases.
func (a *app) listMigrations(ctx context.Context, database string) error {
	names, err := a.databaseNames(database)
	if err != nil {
		return err
	}
	all := []phase.View{}
	for _, name := range names {
		g, done, err := a.guard(ctx, name)
		if err != nil {
			return err
		}
		views, err := g.List(ctx)
		done()
		if err != nil {
			return phaseError(err)
		}
		all = append(all, views...)
	}
	return a.print(all, func(w io.Writer) {
		if len(all) == 0 {
			say(w, "no migration; begin one with: backfleet phase start MIGRATION.yaml")
			return
		}
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		say(tab, "MIGRATION\tDATABASE\tPHASE\tSINCE\tWAITS FOR")
		for _, v := range all {
			say(tab, "%s\t%s\t%s\t%s\t%s", v.Spec.Name, v.Spec.Database, phaseText(v.Phase), words.At(v.Since), waitsFor(v))
		}
		_ = tab.Flush()
		for _, v := range all {
			rehearsalText(w, v)
			overridesText(w, v)
		}
	})
}

// phaseText is a phase with its number.
func phaseText(p migration.Phase) string {
	if n := p.Number(); n > 0 {
		return words.Count(n) + " " + string(p)
	}
	return string(p)
}

// waitsFor is the first thing that the next gate waits for.
func waitsFor(v phase.View) string {
	if v.Gate == "" {
		return "nothing: it is over"
	}
	unmet := migration.Unmet(v.Conditions)
	if len(unmet) == 0 {
		return "you: " + phase.Command(v.Migration)
	}
	text := unmet[0].What
	if unmet[0].Remains > 0 {
		text += ": " + unmet[0].Remains.String() + " remain"
	}
	if len(unmet) > 1 {
		text += ", and " + words.Count(len(unmet)-1) + " more"
	}
	return text
}

func (a *app) phaseShowCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show MIGRATION",
		Short: "Show where a migration stands and what its next gate waits for",
		Long: `Show where a migration stands: its phase and since when, what was done, the checklist, and each condition of the next gate
with what was found just now. It changes nothing.`,
		Example: `  backfleet phase show users-email-norm
  backfleet phase show users-email-norm -o json | jq '.conditions[] | select(.met | not)'`,
		Args: cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			v, err := g.Show(ctx, name)
			if err != nil {
				return err
			}
			return a.print(v, func(w io.Writer) { viewText(w, v) })
		}),
	}
}

func viewText(w io.Writer, v phase.View) {
	say(w, "migration %s of database %s: %s -> %s", v.Spec.Name, v.Spec.Database, v.Spec.Table, newSchema(v.Spec))
	say(w, "phase %s since %s; started by %s at %s", phaseText(v.Phase), words.At(v.Since), v.StartedBy, words.At(v.StartedAt))
	f := v.Facts
	done := []struct {
		what string
		at   *time.Time
	}{
		{"operational plan written", f.Planned}, {"expanded", f.Expanded}, {"dual-write by the " + f.WrittenBy, f.DualWrite}, {"backfill complete (job " + f.Job + ")", f.Backfilled},
		{"reads at " + words.Count(f.Percent) + " %", f.Ramped}, {"dual-write stopped", f.Stopped}, {"drop rehearsed", f.Rehearsed}, {"old schema dropped", f.Dropped}, {"abandoned", f.Abandoned},
	}
	for _, d := range done {
		if d.at != nil {
			say(w, "  done  %s  %s", words.At(*d.at), d.what)
		}
	}
	rehearsalText(w, v)
	overridesText(w, v)
	if v.Gate == "" {
		return
	}
	say(w, "gate %s:", v.Gate)
	for _, c := range v.Conditions {
		mark := "wait"
		if c.Met {
			mark = "ok  "
		}
		say(w, "  %s  %s", mark, c.What)
		for _, line := range []string{c.Found, c.Waived} {
			if line != "" {
				say(w, "          %s", line)
			}
		}
		if !c.Met && c.Fix != "" {
			say(w, "          -> %s", c.Fix)
		}
	}
	if len(migration.Unmet(v.Conditions)) == 0 {
		say(w, "the gate is open: %s", phase.Command(v.Migration))
	}
}

// newSchema names what is added.
func newSchema(s migration.Spec) string {
	text := ""
	for i, c := range s.To.Columns {
		if i > 0 {
			text += ", "
		}
		text += c.Name + " " + c.Type
	}
	if s.NewTable() {
		return s.To.Table + " (" + text + ")"
	}
	return text
}

// rehearsalText shows a rehearsal that is under way, whose process may have died.
func rehearsalText(w io.Writer, v phase.View) {
	r := v.Rehearsal
	if r == nil {
		return
	}
	when := "until " + words.At(r.Until)
	if !v.Now.Before(r.Until) {
		when = "and its time is over since " + words.At(r.Until)
	}
	say(w, "REHEARSAL of %s by %s, begun by %s at %s, %s; it ends with: backfleet phase undo %s", v.Spec.Name, r.Mode, r.By, words.At(r.Began), when, v.Spec.Name)
}

// overridesText shows what was not waited for, for ever.
func overridesText(w io.Writer, v phase.View) {
	for _, o := range v.Facts.Overrides {
		say(w, "OVERRIDE of %s in %s by %s at %s: %s", o.Gate, v.Spec.Name, o.By, words.At(o.At), o.Reason)
		for _, u := range o.Unmet {
			say(w, "          not met then: %s", u)
		}
	}
}

func (a *app) phaseLogCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:     "log MIGRATION",
		Short:   "Show the audit log of a migration",
		Long:    "Show who did what of a migration, and when, the oldest first. The log only grows.",
		Example: "  backfleet phase log users-email-norm",
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			log, err := g.Store.MigrationLog(ctx, name)
			if err != nil {
				return err
			}
			return a.print(log, func(w io.Writer) {
				for _, e := range log {
					detail, _ := json.Marshal(e.Detail) // it was read as JSON
					say(w, "%s  %-12s %-24s %s", words.At(e.At), e.Action, e.By, words.Clip(string(detail), 400))
				}
			})
		}),
	}
}
