package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/store"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) phaseCommand() *cobra.Command {
	var database string
	cmd := &cobra.Command{
		Use:   "phase",
		Short: "Guard a migration through its five phases",
		Long: `Guard a migration without downtime through its five phases: expand, dual-write, backfill, switch reads, contract. Without a
subcommand it lists every migration: its phase, since when, and what its next gate waits for.

Every step is refused before its gate is open, and says what remains. Steps that change a schema run as the role of this process's own DSN
(BACKFLEET_DATABASE_<NAME>), which must own the table; the fleet's role need not. See docs/five-phases.md.`,
		Example: `  backfleet phase
  backfleet phase start users-email-norm.yaml
  backfleet phase show users-email-norm`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.listMigrations(cmd.Context(), database) }
	cmd.PersistentFlags().StringVar(&database, "database", "", "the migration's database, where several are known and one name is in two of them")
	cmd.AddCommand(a.phaseStartCommand(), a.phaseShowCommand(&database), a.phaseLogCommand(&database), a.phasePlanCommand(&database),
		a.phaseTickCommand(&database), a.phaseOverrideCommand(&database))
	for _, step := range a.phaseSteps(&database) {
		cmd.AddCommand(step)
	}
	return cmd
}

// readMigration reads a migration's file.
func (a *app) readMigration(path string) (migration.Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return migration.Spec{}, usage("migration: %w; give the path of a migration file", err)
	}
	spec, err := migration.ParseSpec(text, filepath.Base(path))
	if err != nil {
		return spec, usage("%w", err)
	}
	return spec, nil
}

// guard opens a database for its migrations.
func (a *app) guard(ctx context.Context, name string) (*phase.Guard, func(), error) {
	db, err := a.open(ctx, name, "backfleet phase", 3)
	if err != nil {
		return nil, nil, err
	}
	if err := requirePrimary(ctx, db); err != nil {
		db.pool.Close()
		return nil, nil, err
	}
	st := store.New(db.pool, name)
	if err := st.Ready(ctx); err != nil {
		db.pool.Close()
		return nil, nil, refused(err)
	}
	g := &phase.Guard{Store: st, Pool: db.pool, By: actor(), Jobs: submitter{planner{db, st}}, Tell: func(line string) { say(a.stderr, "%s", line) }}
	return g, db.pool.Close, nil
}

// submitter is [phase.Jobs] over this process's planner.
type submitter struct{ planner }

// Submit implements [phase.Jobs].
func (s submitter) Submit(ctx context.Context, spec job.Spec) (job.Job, error) {
	j, _, err := s.planner.Submit(ctx, api.Submission{Spec: spec, By: actor()})
	return j, err
}

// onMigration is a command that acts on one migration, in whichever of the environment's databases it is.
func (a *app) onMigration(database *string, do func(ctx context.Context, g *phase.Guard, name string, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if a.api != "" {
			return usage("phase: migrations are changed by the role that owns the table, not through --api; run it without --api, with BACKFLEET_DATABASE_<NAME> set to the owner's DSN")
		}
		names, err := a.databaseNames(*database)
		if err != nil {
			return err
		}
		in, err := a.holding(ctx, names, args[0])
		if err != nil {
			return phaseError(err)
		}
		g, done, err := a.guard(ctx, in)
		if err != nil {
			return err
		}
		defer done()
		return phaseError(do(ctx, g, args[0], args[1:]))
	}
}

// holding is the one of the databases that has a migration. One that cannot be asked may have it as well, so then a person must say which.
func (a *app) holding(ctx context.Context, names []string, migration string) (string, error) {
	if len(names) == 1 {
		return names[0], nil
	}
	var found []string
	var none error
	for _, name := range names {
		g, done, err := a.guard(ctx, name)
		if err != nil {
			return "", fmt.Errorf("%w; name the migration's database with --database", err)
		}
		_, err = g.Store.Migration(ctx, migration)
		done()
		var unknown *store.NoMigrationError
		switch {
		case err == nil:
			found = append(found, name)
		case errors.As(err, &unknown):
			none = err
		default:
			return "", err
		}
	}
	switch len(found) {
	case 0:
		return "", none
	case 1:
		return found[0], nil
	}
	return "", usage("migration %s is in the databases %s; say which with --database", migration, strings.Join(found, ", "))
}

// databaseNames are the databases of the environment, or the one that a flag names.
func (a *app) databaseNames(only string) ([]string, error) {
	if only != "" {
		return []string{only}, nil
	}
	sources, _, err := a.sources()
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, usage("database: none is known; set BACKFLEET_DATABASE_<NAME> to a DSN such as postgres://owner@db1:5432/app")
	}
	return sorted(sources), nil
}

// phaseError is what a guard says, with its exit code: what was refused changed nothing. Other errors keep theirs.
func phaseError(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	var gate *phase.GateError
	var wrong *phase.WrongStepError
	var unknown *store.NoMigrationError
	var refusals job.Refusals
	switch { // what is around these says nothing more
	case errors.As(err, &gate):
		return usage("%w", gate)
	case errors.As(err, &wrong):
		return usage("%w", wrong)
	case errors.As(err, &unknown):
		return usage("%w", unknown)
	case errors.As(err, &refusals):
		return usage("%w", refusals)
	}
	return err
}
