package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	cmd := conditional(&cobra.Command{
		Use:   "pause JOB",
		Short: "Stop a job's batches until it is resumed",
		Long: `Stop a job's batches. Workers finish the batch under way, checkpoint and hand their ranges back; no row is lost and
none is done twice. JOB is a name, database/name or a ULID.`,
		Example: `  backfleet pause users-email-norm --reason "checkout is slow, see incident 4711"
  backfleet pause main/users-email-norm`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(true),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			j, err := c.Pause(ctx, name, reason)
			return a.changed(j, err)
		}),
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log and for whoever reads the status")
	return cmd
}

// changed tells how a job stands after a change.
func (a *app) changed(j api.Job, err error) error {
	if err != nil {
		return err
	}
	return a.print(j, func(w io.Writer) {
		if j.Reason != "" {
			say(w, "job %s is %s: %s", j.Name, j.State, j.Reason)
			return
		}
		say(w, "job %s is %s", j.Name, j.State)
	})
}
