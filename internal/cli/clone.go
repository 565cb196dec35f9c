package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/ranges"
)

func (a *app) cloneCommand() *cobra.Command {
	var what api.Clone
	var from, to, key string
	var sample api.Sample
	cmd := conditional(&cobra.Command{
		Use:   "clone JOB --mode restart|continue|range",
		Short: "Store a new job of a job's spec",
		Long: `Store a new job of a job's spec, with the limits that are in force: the whole again (restart), from the first key on that is
not known to be done (continue), or from a key up to another (range). The last two need a spec with a where, which alone tells rows that
are done from those that are not.`,
		Example: `  backfleet clone users-email-norm --mode continue --name users-email-norm-2
  backfleet clone users-email-norm --mode range --from 1000000 --to 2000000 --name users-email-norm-part`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(false),
	})
	cmd.RunE = a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
		for _, bound := range []struct {
			flag, text string
			to         *[]string
		}{{"from", from, &what.From}, {"to", to, &what.To}} {
			if bound.text == "" {
				continue
			}
			k, err := ranges.ParseKey(bound.text)
			if err != nil {
				return usage("%s: %w", bound.flag, err)
			}
			*bound.to = k
		}
		got, err := c.Once(key).Clone(ctx, name, what, sample)
		if err != nil {
			return err
		}
		a.warn(got.Warnings)
		return a.print(got, func(w io.Writer) { submittedText(w, got) })
	})
	f := cmd.Flags()
	f.StringVar(&what.Mode, "mode", "", "restart, continue or range")
	f.StringVar(&what.Name, "name", "", "name of the new job (default: the job's own, which must have ended)")
	f.StringVar(&from, "from", "", `of range, the first key: 42, or ["7","abc"] for a key of several columns (default: the least)`)
	f.StringVar(&to, "to", "", "of range, the key that it ends before (default: it does not)")
	f.StringVar(&key, "idempotency-key", "", idempotencyHelp)
	f.BoolVar(&sample.NoSample, "no-sample", false, noSampleHelp)
	return cmd
}
