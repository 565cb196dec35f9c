package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) throttleOverrideCommand() *cobra.Command {
	var howLong time.Duration
	var rate float64
	var end bool
	cmd := conditional(&cobra.Command{
		Use:   "override DB --rate RATE --for TIME",
		Short: "Set the rate of all jobs of a database for a time, whatever their windows say",
		Long: `Set the rate of all jobs of a database, as a part of the full one (0 to 1), for a time. It takes the place of the jobs'
windows and of their default_rate, up or down, and ends by itself. It never lifts a cap, and no signal is overridden: a replica
that is behind still holds the fleet. --end ends it before its time.`,
		Example: `  backfleet throttle override main --rate 0.2 --for 1h
  backfleet throttle override main --rate 1 --for 30m
  backfleet throttle override main --end`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed
			switch {
			case end && (given("rate") || given("for")):
				return usage("override: --end stands alone; leave --rate and --for out")
			case end:
			case !given("rate"):
				return usage("override: --rate is missing; give a part of the full rate from 0 to 1, as in --rate 0.2 --for 1h, or --end")
			case !(rate >= 0 && rate <= 1):
				return usage("override: --rate %s is out of bounds; give a part of the full rate from 0 to 1", strconv.FormatFloat(rate, 'g', -1, 64))
			default:
				if err := needTime("override", howLong); err != nil {
					return err
				}
			}
			return a.onDatabase(func(ctx context.Context, c *api.Client, name string) error {
				var got api.ThrottleSet
				var err error
				if end {
					got, err = c.EndOverride(ctx, name)
				} else {
					got, err = c.Override(ctx, name, rate, howLong)
				}
				if err != nil {
					return err
				}
				return a.print(got, func(w io.Writer) { say(w, "database %s: %s", got.Database, overrideText(got.Rules.Override)) })
			})(cmd, args)
		},
	})
	cmd.Flags().Float64Var(&rate, "rate", 1, "part of the full rate, 0 to 1; 0 stops every batch")
	cmd.Flags().DurationVar(&howLong, "for", 0, "how long, such as 1h (at most "+job.Duration(job.MaxOverride).String()+")")
	cmd.Flags().BoolVar(&end, "end", false, "let windows decide again")
	return cmd
}

func overrideText(o *job.Override) string {
	if o == nil {
		return "no override; the jobs' windows decide"
	}
	return "rate " + strconv.FormatFloat(o.Rate, 'g', -1, 64) + " until " + words.At(o.Until) + " by " + o.By + ", in place of every window"
}
