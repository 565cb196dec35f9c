package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) throttleReleaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "release DB",
		Short:   "Let the batches of a held database run again",
		Long:    "End a hold of a database before its time. Releasing a database that is not held changes nothing. An override stays.",
		Example: "  backfleet throttle release main",
		Args:    cobra.ExactArgs(1),
		RunE: a.onDatabase(func(ctx context.Context, c *api.Client, name string) error {
			freed, err := c.Release(ctx, name)
			if err != nil {
				return err
			}
			return a.print(freed, func(w io.Writer) { say(w, "database %s is not held any more", freed.Database) })
		}),
	}
}
