package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	cmd := conditional(&cobra.Command{
		Use:   "cancel JOB",
		Short: "End a job for good; rows that are done stay done",
		Long: `End a job for good. Workers hand their ranges back after the batch under way; rows that are done stay done, and the
job cannot be resumed. To stop it for a while use pause.`,
		Example:           `  backfleet cancel users-email-norm --reason "wrong predicate"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(true),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			j, err := c.Cancel(ctx, name, reason)
			return a.changed(j, err)
		}),
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log and the report")
	return cmd
}
