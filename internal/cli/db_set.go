package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/store"
)

func (a *app) dbSetCommand() *cobra.Command {
	var approval string
	cmd := &cobra.Command{
		Use:   "set DATABASE --approval on|off",
		Short: "Say whether a database asks a second person to approve jobs",
		Long: `Say whether a database asks that another person approves a job before it begins (backfleet approve). It needs the role that
owns the ledger, as db init does: no token of the API, and not the fleet's role, can turn it off. Jobs that are there stay as they are.`,
		Example: `  BACKFLEET_DATABASE_MAIN=postgres://owner@db1/app backfleet db set main --approval on`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if approval != "on" && approval != "off" {
				return usage("approval: %q is not known; write --approval on or --approval off", approval)
			}
			db, err := a.open(cmd.Context(), args[0], "backfleet db set", 1)
			if err != nil {
				return err
			}
			defer db.pool.Close()
			st := store.New(db.pool, db.name)
			if err := st.Ready(cmd.Context()); err != nil {
				return refused(err)
			}
			if err := st.SetApproval(cmd.Context(), actor(), approval == "on"); err != nil {
				return refused(err)
			}
			return a.print(map[string]any{"database": args[0], "approval": approval == "on"}, func(w io.Writer) {
				say(w, "database %s: approval is %s", args[0], approval)
			})
		},
	}
	cmd.Flags().StringVar(&approval, "approval", "", "on or off")
	return cmd
}
