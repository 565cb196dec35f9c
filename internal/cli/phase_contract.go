package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/contract"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) phaseReadersCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "readers MIGRATION",
		Short: "Find who still reads the old schema",
		Long: `Find who still reads the old schema: what PostgreSQL's catalog knows (views, functions, triggers, indexes, constraints, policies, publications ...),
functions whose text names it, the statements that pg_stat_statements remembers, and the sessions of now; and what no database can tell. It changes
nothing.`,
		Example: `  backfleet phase readers users-email-norm
  backfleet phase readers users-email-norm -o json | jq '.readers[] | select(.certainty == "sure")'`,
		Args: cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			m, err := g.Store.Migration(ctx, name)
			if err != nil {
				return err
			}
			readers, err := g.Readers(ctx, m)
			if err != nil {
				return err
			}
			unseen, err := contract.Unseen(ctx, g.Pool)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"readers": readers, "unseen": unseen}, func(w io.Writer) {
				for _, r := range readers {
					say(w, "%s", r)
					if r.Fix != "" {
						say(w, "    -> %s", r.Fix)
					}
				}
				if len(readers) == 0 {
					say(w, "nothing in the database is known to read the old schema")
				}
				say(w, "not seen from here:")
				for _, u := range unseen {
					say(w, "  %s", u)
				}
			})
		}),
	}
}

func (a *app) phaseRehearseCommand(database *string) *cobra.Command {
	var howLong migration.Period
	var mode string
	var accept []string
	var detach bool
	cmd := &cobra.Command{
		Use:   "rehearse MIGRATION --for TIME",
		Short: "Take the old schema away for a time, so that who still reads it fails now",
		Long: `Take the old schema away for a time and bring it back, so that the monthly report fails now and not three weeks after the drop. Revoke
takes SELECT on the old columns from every role and leaves them the others; it is refused where a role is at work that would not notice (the owner, superusers),
unless --accept names it. Rename gives the columns another name, which everybody notices.

The command waits, and brings all back at the end of the time or at Ctrl-C. With --detach it returns at once: backfleet phase undo brings all back, from
anywhere, in less than a second.`,
		Example: `  backfleet phase rehearse users-email-norm --for 24h
  backfleet phase rehearse users-email-norm --for 1h --mode rename --detach`,
		Args: cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			if howLong <= 0 {
				return usage("rehearse: --for is missing; say how long, as in --for 24h")
			}
			_, is, err := g.Rehearse(ctx, name, phase.Rehearsal{Mode: contract.Mode(mode), For: howLong.D(), Accept: accept})
			if err != nil {
				return err
			}
			for _, n := range is.Notes {
				say(a.stderr, "note: %s", n)
			}
			say(a.stderr, "the old schema of %s is taken away (%s) until %s; bring it back with: backfleet phase undo %s", name, mode, words.At(is.Until), name)
			if detach {
				return nil
			}
			select {
			case <-ctx.Done():
			case <-time.After(is.Left + clocksApart):
			}
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoMost)
			defer cancel()
			for {
				m, exact, err := g.Undo(back, name)
				if err == nil || back.Err() != nil || !lost(err) {
					return a.undone(m, exact, err)
				}
				say(a.stderr, "the old schema is not back yet; tried again: %v", err)
				select {
				case <-back.Done():
				case <-time.After(time.Second):
				}
			}
		}),
	}
	cmd.Flags().TextVar(&howLong, "for", migration.Period(0), "how much `time`, such as 24h or 7d")
	cmd.Flags().Lookup("for").DefValue = "" // there is none
	cmd.Flags().StringVar(&mode, "mode", string(contract.Revoke), "revoke or rename")
	cmd.Flags().StringSliceVar(&accept, "accept", nil, "roles that would not notice and that you know to be no readers")
	cmd.Flags().BoolVar(&detach, "detach", false, "return at once; end it with backfleet phase undo")
	return cmd
}

const (
	undoMost    = 5 * time.Minute // an undo may try for its locks, and for a database that fails over
	clocksApart = time.Second     // the end is judged by the database's clock
)

// lost reports whether an error is a database that is away, and not one that refuses.
func lost(err error) bool {
	var wrong *phase.WrongStepError
	var refused job.Refusals
	return !errors.As(err, &wrong) && !errors.As(err, &refused) && postgres.Classify(err) == postgres.Connection
}

func (a *app) phaseUndoCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:     "undo MIGRATION",
		Short:   "End a rehearsal and bring the old schema back",
		Long:    "End a rehearsal, whatever process began it, and bring back what it took away: one short transaction. One that ran its whole time counts for the drop.",
		Example: "  backfleet phase undo users-email-norm",
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			return a.undone(g.Undo(ctx, name))
		}),
	}
}

func (a *app) undone(m migration.Migration, exact bool, err error) error {
	if err != nil {
		return err
	}
	return a.print(map[string]any{"migration": m, "exact": exact}, func(w io.Writer) {
		how := "exactly as it was"
		if !exact {
			how = "on top of privileges that somebody changed meanwhile; look at them with \\dp in psql"
		}
		say(w, "the old schema of %s is back, %s", m.Spec.Name, how)
	})
}

func (a *app) phaseDropCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "drop MIGRATION",
		Short: "Phase 5 ends: drop the old schema",
		Long: `Phase 5 ends: drop the old columns, or the old table, which is metadata only, with a lock_timeout and tried again. The script that brings their form
back is printed and kept in the audit log; their values are gone.`,
		Example: `  backfleet phase drop users-email-norm > undo.sql`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			m, undo, err := g.Drop(ctx, name)
			if err != nil {
				return err
			}
			say(a.stderr, "migration %s is done: the old schema is dropped; what brings its form back follows, and stands in: backfleet phase log %s", name, name)
			return a.print(map[string]any{"migration": m, "undo": undo}, func(w io.Writer) { _, _ = fmt.Fprintln(w, undo) })
		}),
	}
}
