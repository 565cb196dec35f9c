package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) throttleHoldCommand() *cobra.Command {
	var howLong time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:   "hold DB --for TIME",
		Short: "Stop every batch of a database for a time",
		Long: `Stop every batch of a database, whatever job it belongs to, for a time. The batch's own statement reads the hold, so it
works without any coordinator, as SELECT backfleet.hold('10 minutes') does. It ends by itself; a second hold takes the place of
the first. Jobs keep their state and their ranges.`,
		Example: `  backfleet throttle hold main --for 10m
  backfleet throttle hold main --for 1h --reason "incident 4711: checkout is slow"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needTime("hold", howLong); err != nil {
				return err
			}
			return a.onDatabase(func(ctx context.Context, c *api.Client, name string) error {
				held, err := c.Hold(ctx, name, howLong, reason)
				if err != nil {
					return err
				}
				return a.print(held, func(w io.Writer) {
					say(w, "database %s is held until %s; free it with: backfleet throttle release %s", held.Database, words.At(held.Until), held.Database)
				})
			})(cmd, args)
		},
	}
	cmd.Flags().DurationVar(&howLong, "for", 0, "how long, such as 10m (at most "+job.Duration(job.MaxOverride).String()+")")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log and for whoever reads the status")
	return cmd
}

// needTime checks the --for of what ends by itself.
func needTime(verb string, d time.Duration) error {
	switch {
	case d == 0:
		return usage("%s: --for is missing; say how long, as in --for 10m", verb)
	case d < time.Millisecond || d > job.MaxOverride:
		return usage("%s: --for %s is out of bounds; write up to %s, as in --for 10m", verb, d, job.Duration(job.MaxOverride))
	}
	return nil
}
