package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) approveCommand() *cobra.Command {
	var hash string
	cmd := conditional(&cobra.Command{
		Use:   "approve JOB [--plan-hash HASH]",
		Short: "Let a job begin that awaits a second person",
		Long: `Let a job begin that awaits the approval of another person than the one who submitted it, where a database asks for that
(backfleet db set DATABASE --approval on). Without --plan-hash it shows the plan and its hash, and changes nothing. The approval is of the
plan with that hash: where the table, its triggers or the spec are others by now it is refused.

It needs --api with a token of your own and the role admin.`,
		Example: `  backfleet approve users-email-norm --api https://backfleet:8080 --api-token-file my.token
  backfleet approve users-email-norm --plan-hash 5f0c...9a --api https://backfleet:8080 --api-token-file my.token`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(true),
	})
	cmd.RunE = a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
		if hash != "" {
			j, err := c.Approve(ctx, name, hash)
			return a.changed(j, err)
		}
		p, err := c.PlanOf(ctx, name)
		if err != nil {
			return err
		}
		var failed error
		err = a.print(p, func(w io.Writer) {
			if failed = renderPlan(w, p.Plan, a.colors(w)); failed == nil {
				say(w, "\nto approve it: backfleet approve %s --plan-hash %s", name, p.Hash)
			}
		})
		if err != nil {
			return err
		}
		return failed
	})
	cmd.Flags().StringVar(&hash, "plan-hash", "", "the hash of the plan that you approve")
	return cmd
}
