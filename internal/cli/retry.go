package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) retryCommand() *cobra.Command {
	return conditional(&cobra.Command{
		Use:   "retry JOB",
		Short: "Try quarantined rows and failed ranges again",
		Long: `Try every quarantined row once more, each with its removal from quarantine in one transaction, and queue failed
ranges again. A job that failed or ended with errors goes on and is verified anew.`,
		Example:           "  backfleet retry users-email-norm",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(false),
		RunE: a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			r, err := c.Retry(ctx, name)
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				say(w, "%s done, %s still failing, %s queued; job %s is %s",
					words.Plural(r.Rows, "row"), words.Count(len(r.Left)), words.Plural(r.Ranges, "range"), name, r.State)
				for _, q := range r.Left {
					say(w, "  %s key %s: %s", q.Relation, q.Key, q.Error)
				}
			})
		}),
	})
}
