package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) resumeCommand() *cobra.Command {
	return conditional(&cobra.Command{
		Use:               "resume JOB",
		Short:             "Let a paused job go on from its checkpoints",
		Long:              "Let a paused job go on from the committed checkpoints. Resuming a job that runs changes nothing.",
		Example:           "  backfleet resume users-email-norm",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(true),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			j, err := c.Resume(ctx, name)
			return a.changed(j, err)
		}),
	})
}
