package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/ranges"
)

func (a *app) skipCommand() *cobra.Command {
	var index int
	var key, relation, reason string
	cmd := conditional(&cobra.Command{
		Use:   "skip JOB (--range N | --key KEY) --reason WHY",
		Short: "Take a range or a row out of a job",
		Long: `Take a range or a row out of a job. The job can then end only as complete_with_errors, and its report lists what was
skipped. A row can be skipped while the job is paused, so that no worker is past it. A range of blocks is refused (order: block,
and the first round of a verification), for rows move between blocks: skip its rows by key.`,
		Example: `  backfleet skip users-email-norm --range 118 --reason "archived tenant"
  backfleet skip users-email-norm --key 40071 --reason "legal hold"
  backfleet skip events-day --key '["7","2026-01-31"]' --relation public.events_2026_01 --reason "legal hold"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(true),
	})
	cmd.RunE = func(c *cobra.Command, args []string) error {
		what := api.Skip{Relation: relation, Reason: reason}
		if c.Flags().Changed("range") == c.Flags().Changed("key") {
			return usage("skip: name one of --range and --key")
		}
		if reason == "" {
			return usage("skip: --reason is missing; say why, it stands in the report")
		}
		if c.Flags().Changed("range") {
			if index < 0 {
				return usage("range: %d is not an index; backfleet status shows them", index)
			}
			what.Range = &index
		} else {
			parsed, err := ranges.ParseKey(key)
			if err != nil {
				return usage("%w", err)
			}
			if parsed.Unbounded() {
				return usage("key: null names no row; write a key as 42")
			}
			what.Key = parsed
		}
		return a.onJob(func(ctx context.Context, c *api.Client, name api.JobName) error {
			j, err := c.Skip(ctx, name, what)
			return a.changed(j, err)
		})(c, args)
	}
	f := cmd.Flags()
	f.IntVar(&index, "range", 0, "index of the range")
	f.StringVar(&key, "key", "", `key of the row: 42, or ["7","abc"] for a key of several columns`)
	f.StringVar(&relation, "relation", "", "leaf partition of the row, e.g. public.events_2026_01")
	f.StringVar(&reason, "reason", "", "why, for the audit log and the report")
	return cmd
}
