package cli

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/ddl"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
)

// phaseSteps are the commands that take a migration on.
func (a *app) phaseSteps(database *string) []*cobra.Command {
	return []*cobra.Command{
		a.phaseExpandCommand(database), a.phaseDualWriteCommand(database), a.phaseCheckCommand(database), a.phaseDivergenceCommand(database),
		a.phaseBackfillCommand(database), a.phaseSwitchCommand(database), a.phaseRollbackCommand(database), a.phaseStopCommand(database),
		a.phaseReadersCommand(database), a.phaseRehearseCommand(database), a.phaseUndoCommand(database), a.phaseDropCommand(database), a.phaseAbandonCommand(database),
	}
}

func (a *app) phasePlanCommand(database *string) *cobra.Command {
	var people []string
	cmd := &cobra.Command{
		Use:   "plan MIGRATION",
		Short: "Write the operational plan of a migration",
		Long: `Write the operational plan as Markdown: forecast from sample batches that are rolled back, replicas, budgets, windows, people, phases,
warnings, and the way back. It is kept in the ledger. Over 100M rows no gate opens without it, and it demands what must not be left to a default.`,
		Example: `  backfleet phase plan users-email-norm --people dba-oncall,#payments > plan.md`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			ops, err := g.Plan(ctx, name, people)
			if err != nil {
				return err
			}
			return a.print(ops, func(w io.Writer) { _, _ = io.WriteString(w, ops.Text) })
		}),
	}
	cmd.Flags().StringSliceVar(&people, "people", nil, "who is told and who is on call, comma-separated")
	return cmd
}

func (a *app) phaseExpandCommand(database *string) *cobra.Command {
	var file string
	var dry bool
	cmd := &cobra.Command{
		Use:   "expand MIGRATION",
		Short: "Phase 1: check and apply the additive DDL",
		Long: `Phase 1: add the new schema and nothing else. Without --ddl the statements are made from the migration's file. Each is checked by
PostgreSQL's own parser: which lock it takes, what it rewrites, what would hold up the application; one that is not additive or not safe is refused
with the safe way. Each is applied with a lock_timeout and tried again, so that no DDL queues the application behind it.`,
		Example: `  backfleet phase expand users-email-norm --dry-run
  backfleet phase expand users-email-norm
  backfleet phase expand users-email-norm --ddl add_email_norm.sql`,
		Args: cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			var text string
			if file != "" {
				b, err := os.ReadFile(file)
				if err != nil {
					return usage("ddl: %w; give the path of a file with DDL", err)
				}
				text = string(b)
			}
			found, err := g.CheckExpand(ctx, name, text)
			if err != nil {
				return err
			}
			if dry || found.Refused() {
				if err := a.print(found, func(w io.Writer) { expandText(w, found) }); err != nil {
					return err
				}
				if found.Refused() {
					return usage("migration %s: expand: the DDL is refused, nothing was changed; the lines above say what would be right", name)
				}
				return nil
			}
			return a.moved(g.Expand(ctx, name, text))
		}),
	}
	cmd.Flags().StringVar(&file, "ddl", "", "a file with the DDL to check and apply, instead of what the migration's file asks for")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check and show the statements, and change nothing")
	return cmd
}

func (a *app) phaseDualWriteCommand(database *string) *cobra.Command {
	var application, cost bool
	cmd := &cobra.Command{
		Use:   "dual-write MIGRATION",
		Short: "Phase 2: have every write of the old schema carried over to the new one",
		Long: `Phase 2: install the trigger that carries every write of the old schema over to the new one, whatever role or session writes. From then on
the coordinator watches for rows that diverge, such as those of a writer that disables triggers. --application leaves the writing to the application's own code and only watches. --cost measures first what
the trigger costs a write, on copies of a sample of rows, and installs nothing. Done again, it mends a trigger that somebody changed; the soak then begins anew.`,
		Example: `  backfleet phase dual-write users-email-norm --cost
  backfleet phase dual-write users-email-norm`,
		Args: cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			if cost {
				c, err := g.Cost(ctx, name)
				if err != nil {
					return err
				}
				return a.print(c, func(w io.Writer) { say(w, "%s", strings.TrimSpace(c.String())) })
			}
			by := migration.ByTrigger
			if application {
				by = migration.ByApplication
			}
			return a.moved(g.DualWrite(ctx, name, by))
		}),
	}
	cmd.Flags().BoolVar(&application, "application", false, "the application writes both; watch it")
	cmd.Flags().BoolVar(&cost, "cost", false, "measure what the trigger would cost, and install nothing")
	return cmd
}

func (a *app) phaseBackfillCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "backfill MIGRATION",
		Short: "Phase 3: submit the backfill",
		Long: `Phase 3: submit the backfill as a job of the fleet, made from the migration's file. Follow and steer it as any job, by the migration's name.
The phase ends when the job is complete, which means verified.`,
		Example: `  backfleet phase backfill users-email-norm && backfleet watch users-email-norm`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			m, j, err := g.Backfill(ctx, name)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"migration": m, "job": j.ID, "state": j.State}, func(w io.Writer) {
				say(w, "migration %s: its job %s is %s; follow it with: backfleet watch %s", name, j.ID, j.State, j.Name)
			})
		}),
	}
}

func (a *app) phaseSwitchCommand(database *string) *cobra.Command {
	var to int
	cmd := &cobra.Command{
		Use:   "switch MIGRATION --to PERCENT",
		Short: "Phase 4: send the next share of the reads to the new schema",
		Long: `Phase 4: send 1, then 10, then 100 percent of the reads to the new schema. Applications without a flag system of their own ask
SELECT backfleet.flag('MIGRATION', key), or GET /v1/databases/DB/flags/MIGRATION; a key that is in stays in. It opens only on proof: the backfill verified,
nothing left, nothing diverging. backfleet phase rollback is the way back, one command.`,
		Example: `  backfleet phase switch users-email-norm --to 1`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			if to == 0 {
				return usage("switch: --to is missing; give 1, 10 or 100, or go back with: backfleet phase rollback %s", name)
			}
			return a.moved(g.Switch(ctx, name, to))
		}),
	}
	cmd.Flags().IntVar(&to, "to", 0, "percent of the reads: 1, 10 or 100, one after the other")
	return cmd
}

func (a *app) phaseRollbackCommand(database *string) *cobra.Command {
	return a.phaseReasonCommand(database, "rollback", "Send all reads back to the old schema, at once",
		"Send all reads back to the old schema, at once and whatever the gates say, for as long as dual-write goes on.", (*phase.Guard).Rollback)
}

func (a *app) phaseAbandonCommand(database *string) *cobra.Command {
	return a.phaseReasonCommand(database, "abandon", "Give a migration up",
		"Give a migration up before dual-write has stopped: all reads go back, the trigger goes, and the new columns stay where they are, for nobody reads them.", (*phase.Guard).Abandon)
}

// phaseReasonCommand is a step that takes a reason.
func (a *app) phaseReasonCommand(database *string, verb, short, long string, do func(g *phase.Guard, ctx context.Context, name, reason string) (migration.Migration, error)) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb + " MIGRATION", Short: short, Long: long,
		Example: "  backfleet phase " + verb + ` users-email-norm --reason "incident 4711"`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			return a.moved(do(g, ctx, name, reason))
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}

func (a *app) phaseStopCommand(database *string) *cobra.Command {
	return &cobra.Command{
		Use:   "stop MIGRATION",
		Short: "Phase 5: stop dual-write; from here on reads cannot go back",
		Long: `Phase 5 begins: remove the dual-write trigger, a week after all reads have switched. The old schema is stale from then on, so reads cannot
go back.`,
		Example: `  backfleet phase stop users-email-norm`,
		Args:    cobra.ExactArgs(1),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, _ []string) error {
			return a.moved(g.Stop(ctx, name))
		}),
	}
}

func expandText(w io.Writer, found phase.Expansion) {
	for _, s := range found.Statements {
		say(w, "%s;", strings.TrimSpace(s.SQL))
		for _, f := range found.Findings {
			if f.Statement != s.Number {
				continue
			}
			text := f.Verdict.String() + ": " + f.What
			for _, l := range f.Locks {
				text += ", " + l.Mode.String() + " lock on " + l.Relation.String()
			}
			if f.Takes > 0 {
				text += ", " + f.Work.String() + " of about " + f.Takes.Round(time.Millisecond).String()
			}
			say(w, "    %s", text)
			if f.Why != "" {
				say(w, "    %s", f.Why)
			}
			if f.Fix != "" && f.Verdict != ddl.OK {
				say(w, "    -> %s", f.Fix)
			}
		}
	}
}
