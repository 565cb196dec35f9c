package cli

import (
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
)

func (a *app) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Create or upgrade the ledger, and print the privileges that a role needs",
		Example: `  backfleet db init
  backfleet db grants main --role backfleet --table public.users`,
	}
	cmd.AddCommand(a.dbInitCommand(), a.dbGrantsCommand(), a.dbSetCommand())
	return cmd
}

// migrated is what db init did to one database.
type migrated struct {
	Database string `json:"database"`
	From     int    `json:"from_version"`
	To       int    `json:"to_version"`
}

func (a *app) dbInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DATABASE...]",
		Short: "Create or upgrade the ledger",
		Long: `Create or upgrade the ledger, the schema "backfleet", in the databases named; in each of the environment's when none
is. A ledger that is up to date stays as it is. It needs CREATE on the database, which the fleet itself does not.`,
		Example: `  BACKFLEET_DATABASE_MAIN=postgres://owner@db1/app backfleet db init
  backfleet db init main`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				sources, err := postgres.Databases(a.environ)
				if err != nil {
					return usage("%w", err)
				}
				if names = slices.Sorted(maps.Keys(sources)); len(names) == 0 {
					return usage("database: none is known; set BACKFLEET_DATABASE_<NAME> to a DSN such as postgres://owner@db1:5432/app")
				}
			}
			var done []migrated
			for _, name := range names {
				db, err := a.open(cmd.Context(), name, "backfleet db init", 1)
				if err != nil {
					return err
				}
				if err := requirePrimary(cmd.Context(), db); err != nil {
					db.pool.Close()
					return err
				}
				from, to, err := store.New(db.pool, name).Migrate(cmd.Context())
				db.pool.Close()
				if err != nil {
					return refused(err)
				}
				done = append(done, migrated{name, from, to})
			}
			return a.print(done, func(w io.Writer) {
				for _, m := range done {
					switch {
					case m.From == m.To:
						say(w, "database %s: the ledger has version %d, nothing to do", m.Database, m.To)
					case m.From == 0:
						say(w, "database %s: the ledger is created, version %d", m.Database, m.To)
					default:
						say(w, "database %s: the ledger is upgraded from version %d to %d", m.Database, m.From, m.To)
					}
				}
			})
		},
	}
}

func (a *app) dbGrantsCommand() *cobra.Command {
	var role, table string
	cmd := &cobra.Command{
		Use:   "grants DATABASE --role ROLE --table TABLE",
		Short: "Print the least privileges that a role needs",
		Long: `Print the statements that give a role the least privileges for the ledger and for backfills of a table, its leaf
partitions included. Nothing is changed: read them, then run them as the owner, and the one for pg_monitor as a superuser.`,
		Example: `  backfleet db grants main --role backfleet --table public.users
  backfleet db grants main --role backfleet --table public.users | psql "$SUPERUSER_DSN"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case role == "":
				return usage("role: is missing; give the role that the fleet connects as, with --role")
			case table == "":
				return usage("table: is missing; give the table to backfill, such as public.users, with --table")
			}
			db, err := a.open(cmd.Context(), args[0], "backfleet db grants", 1)
			if err != nil {
				return err
			}
			defer db.pool.Close()
			text, err := grants(cmd.Context(), db, role, table)
			if err != nil {
				return refused(err)
			}
			return a.print(map[string]string{"database": args[0], "role": role, "table": table, "statements": text}, func(w io.Writer) {
				_, _ = io.WriteString(w, text)
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "the role that the fleet connects as")
	cmd.Flags().StringVar(&table, "table", "", "the table to backfill, such as public.users")
	return cmd
}
