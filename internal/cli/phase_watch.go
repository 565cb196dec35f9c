package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) phaseCheckCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check MIGRATION",
		Short: "Walk both schemas once and say which rows diverge",
		Long: `Walk both schemas once, whole, in key ranges and at the watch's bounded rate, and say which rows diverge. A coordinator does the same by
itself, round after round. Rows that are the backfill's to do are counted apart: they were written before dual-write began. It exits with 3 where rows diverge.`,
		Example: `  backfleet phase check users-email-norm`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			w, err := g.Check(ctx, name)
			if err != nil {
				return err
			}
			if err := a.print(w, func(out io.Writer) { watchedText(out, w) }); err != nil {
				return err
			}
			if w.Verdict != "" {
				return &exitError{code: exitWithErrors}
			}
			return nil
		}),
	}
}

func (a *app) phaseDivergenceCommand(database *string) *cobra.Command {
	since := migration.Period(24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "divergence MIGRATION",
		Short: "Show what the watch has seen: rounds, when rows came to diverge, and who was at work then",
		Long: `Show what the watch has seen: its rounds as a series, in which times rows came to diverge and who was at work then, and some of the
rows. The suspects are no proof, but where to ask first. Statements are shown without their literals.`,
		Example: `  backfleet phase divergence users-email-norm --since 24h`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			w, err := g.Watched(ctx, name, a.now().Add(-since.D()))
			if err != nil {
				return err
			}
			return a.print(w, func(out io.Writer) { watchedText(out, w) })
		}),
	}
	cmd.Flags().TextVar(&since, "since", since, "how much `time` the series goes back, such as 24h or 7d")
	return cmd
}

func watchedText(w io.Writer, seen phase.Watched) {
	rounds := seen.Series
	if len(rounds) > roundsShown {
		say(w, "%s earlier rounds; -o json has all", words.Count(len(rounds)-roundsShown))
		rounds = rounds[len(rounds)-roundsShown:]
	}
	for _, r := range rounds {
		say(w, "round %s  %s  %s", words.Count(r.Number), words.At(r.At), roundText(r))
	}
	if len(rounds) == 0 {
		say(w, "no round yet")
	}
	for _, b := range seen.Growth {
		say(w, "came to diverge between %s and %s: %s missing, %s differing, %s without an old row", words.At(b.Since), words.At(b.Until),
			words.Count(b.Missing), words.Count(b.Differing), words.Count(b.Orphans))
		for _, s := range b.Suspects {
			say(w, "    at work then: %s as %s from %s: %s", or(s.Application, "no application name"), s.User, or(s.Address, "a socket"), words.Clip(s.Query, 160))
		}
	}
	for _, r := range seen.Rows {
		say(w, "    %s %v of %s, first seen %s", r.Kind, r.Key, r.Relation, words.At(r.FirstSeen))
	}
	if seen.Verdict == "" && len(rounds) > 0 {
		say(w, "nothing diverges")
	}
	if seen.Verdict != "" {
		say(w, "%s", seen.Verdict)
	}
}

// roundsShown are so many of the last rounds.
const roundsShown = 20

func roundText(r divergence.Round) string {
	text := words.Count(r.Walked) + " rows walked, " + words.Count(r.Waiting) + " wait for the backfill, " + words.Count(r.Missing) + " missing, " +
		words.Count(r.Differing) + " differing, " + words.Count(r.Orphans) + " without an old row"
	if r.Failing > 0 {
		text += ", " + words.Count(r.Failing) + " whose expression fails"
	}
	if !r.Complete() {
		text += " (not whole)"
	}
	return text
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
