package cli

import (
	"context"
	"errors"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/watch"
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [JOB]",
		Short: "Watch the fleet, or a job, on the whole terminal, and steer it",
		Long: `Watch the fleet on the whole terminal: databases with the lag of each replica against its target, the budget and what binds it,
jobs with progress, rate and time left, workers; of a job its range map too. Keys pause and resume a job, set its limits, hold and
release its database, each once it is confirmed; what the token may not do is not offered. ? lists the keys, q leaves, and nothing
stops because of it.

It asks every second. Where the fleet does not answer it says so, goes on asking, and keeps what was known in view. Without --api it
reads the ledger: then rate, lag and budget are not known.

Where stdout is no terminal, or with -o json, it writes a line for each transition and every ten seconds. With JOB it then ends with
the job, with the exit code that report has. NO_COLOR leaves colors away.`,
		Example: `  backfleet watch --api http://127.0.0.1:8080 --api-token-file api.token
  backfleet watch users-email-norm
  backfleet watch users-email-norm | tee run.log
  backfleet watch -o json | jq -c '.jobs[]'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeJobs(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, done, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var id job.ID
			if len(args) == 1 {
				st, err := c.Status(cmd.Context(), api.JobName(args[0]))
				if err != nil {
					return err
				}
				id = st.ID
			}
			if _, terminal := a.terminal(a.stdout); terminal && a.output != "json" {
				return a.watchScreen(cmd.Context(), c, id)
			}
			return a.watchLines(cmd.Context(), c, id)
		},
	}
}

// watchScreen shows the fleet on the whole terminal until the person leaves, and restores it.
func (a *app) watchScreen(ctx context.Context, c *api.Client, id job.ID) error {
	asking, stop := context.WithCancel(ctx) // what is asked when the person leaves ends too
	defer stop()
	where := a.api
	if where == "" {
		where = "the ledger"
	}
	screen := watch.New(asking, watch.Options{Fleet: c, Where: where, Job: id, Color: a.colors(a.stdout), Now: a.now})
	_, err := tea.NewProgram(screen, tea.WithContext(ctx), tea.WithInput(a.stdin), tea.WithOutput(a.stdout),
		tea.WithEnvironment(a.environ), tea.WithoutSignalHandler()).Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, tea.ErrInterrupted):
		return nil
	}
	return err
}

func (a *app) watchLines(ctx context.Context, c *api.Client, id job.ID) error {
	end, err := watch.Plain{Fleet: c, Out: a.stdout, Job: id, JSON: a.output == "json", Now: a.now}.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &exitError{code: exitFailure, err: err}
	case end != nil:
		if code := stateExit(end.State); code != exitOK {
			return &exitError{code: code}
		}
	}
	return nil
}
