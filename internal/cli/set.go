package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

func (a *app) setCommand() *cobra.Command {
	return conditional(&cobra.Command{
		Use:   "set JOB PATH=VALUE...",
		Short: "Change a job's limits while it runs",
		Long: `Change limits of a job while it runs; workers follow within a second. All values are checked before any is set. Old
and new values stand in the audit log.

The paths are those of the spec:
  ` + strings.Join(job.Paths(), "\n  "),
		Example: `  backfleet set users-email-norm workers.max=4
  backfleet set users-email-norm throttle.lag.target=2s batch.max_rows=5000
  backfleet set users-email-norm throttle.windows='[{cron: "0 22 * * *", tz: Europe/Berlin, for: 8h, rate: 1.0}]' throttle.default_rate=0.3
  backfleet set users-email-norm throttle.signals.archive_queue.hard=30 throttle.signals.autovacuum=off`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeJobs(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:], "workers.max=4")
			if err != nil {
				return err
			}
			c, done, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			got, err := c.If(seen(cmd)).SetLimits(cmd.Context(), api.JobName(args[0]), values)
			if err != nil {
				return err
			}
			a.warn(got.Warnings)
			return a.print(got, func(w io.Writer) { changesText(w, got.Changes) })
		},
	})
}
