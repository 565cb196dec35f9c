package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
)

func (a *app) phaseStartCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "start MIGRATION.yaml",
		Short: "Begin a migration from its file",
		Long: `Begin a migration: check its file against the live database and store it. Nothing of the schema is changed. The same file again
shows the migration that is there. Soaks shorter than the rule (24h of dual-write, 7d of reads, 7d before the drop) need a --reason, which stays
visible for ever.`,
		Example: `  backfleet phase start users-email-norm.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := a.readMigration(args[0])
			if err != nil {
				return err
			}
			g, done, err := a.guard(cmd.Context(), spec.Database)
			if err != nil {
				return err
			}
			defer done()
			m, created, err := g.Start(cmd.Context(), spec, reason)
			if err != nil {
				return phaseError(err)
			}
			return a.print(m, func(w io.Writer) {
				if created {
					say(w, "migration %s has begun; next: backfleet phase show %s", m.Spec.Name, m.Spec.Name)
					return
				}
				p, _ := m.Phase()
				say(w, "migration %s is there already, in phase %s; nothing changed", m.Spec.Name, phaseText(p))
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why soaks may be shorter than the rule")
	return cmd
}

func (a *app) phaseTickCommand(database *string) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use:     "tick MIGRATION ITEM",
		Short:   "Tick an item of the checklist",
		Long:    "Tick an item of the checklist: your word that it is so, with your name and the time. `backfleet phase show` lists the items of the next gate.",
		Example: `  backfleet phase tick users-email-norm writers-known --note "api, worker, admin console"`,
		Args:    cobra.ExactArgs(2),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, args []string) error {
			return a.moved(g.Tick(ctx, name, args[0], note))
		}),
	}
	cmd.Flags().StringVar(&note, "note", "", "what you found")
	return cmd
}

func (a *app) phaseOverrideCommand(database *string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "override MIGRATION GATE --reason TEXT",
		Short: "Pass a gate before its time",
		Long: `Pass a gate whose conditions are not met: its waits and its checklist, but not what would lose data. The gates are expand, dual-write,
backfill, switch, stop and drop. It needs the owner's role, a reason, and stays visible for ever with what was not met at the time.`,
		Example: `  backfleet phase override users-email-norm backfill --reason "CHG-4711: legal deadline; accepted by jane"`,
		Args:    cobra.ExactArgs(2),
		RunE: a.onMigration(database, func(ctx context.Context, g *phase.Guard, name string, args []string) error {
			return a.moved(g.Override(ctx, name, migration.Gate(args[0]), reason))
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why the gate cannot be waited for")
	return cmd
}

// moved tells where a migration stands after a step.
func (a *app) moved(m migration.Migration, err error) error {
	if err != nil {
		return err
	}
	return a.print(m, func(w io.Writer) {
		p, _ := m.Phase()
		say(w, "migration %s of database %s is in phase %s; next: backfleet phase show %s", m.Spec.Name, m.Spec.Database, phaseText(p), m.Spec.Name)
	})
}
