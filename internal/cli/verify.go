package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) verifyCommand() *cobra.Command {
	return conditional(&cobra.Command{
		Use:   "verify JOB",
		Short: "Prove an ended job again: coverage, residual and check",
		Long: `Prove a job again that ended complete or complete_with_errors: the fleet counts the residual and the check over every
range, repairs what it finds, and writes a new report. A job that runs is verified by itself at its end.`,
		Example:           "  backfleet verify users-email-norm && backfleet status users-email-norm",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(false),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			j, err := c.Verify(ctx, name)
			return a.changed(j, err)
		}),
	})
}
