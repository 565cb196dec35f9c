package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) throttleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "throttle",
		Short: "Hold, free or slow down all jobs of a database",
		Long: `Hold, free or slow down all jobs of a database together, and show what holds them back. Limits of one job are changed by
` + "`backfleet set`" + `. DB is a database's name, as in BACKFLEET_DATABASE_<NAME>. Every change stands in the audit log.`,
		Example: `  backfleet throttle show main
  backfleet throttle hold main --for 10m --reason "incident 4711"
  backfleet throttle override main --rate 0.2 --for 1h`,
	}
	cmd.AddCommand(a.throttleShowCommand(), a.throttleHoldCommand(), a.throttleReleaseCommand(), a.throttleSetCommand(), a.throttleOverrideCommand())
	return cmd
}

// onDatabase is a command that acts on one database through the API.
func (a *app) onDatabase(do func(ctx context.Context, c *api.Client, name string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, done, err := a.client(cmd.Context())
		if err != nil {
			return err
		}
		defer done()
		return do(cmd.Context(), c.If(seen(cmd)), args[0])
	}
}
