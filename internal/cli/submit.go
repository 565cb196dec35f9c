package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

func (a *app) submitCommand() *cobra.Command {
	var again bool
	var key string
	var sample api.Sample
	cmd := &cobra.Command{
		Use:   "submit JOB.yaml",
		Short: "Check a spec and store it as a job for the fleet",
		Long: `Check a spec as plan does and store it as a job. The coordinator of its database plans and releases it; workers carry
it. At most four small batches are run and rolled back, within a second, so that the report can hold a forecast against the
outcome; --no-sample leaves them out. Submitting the same file again returns the job that is there, ended or not, so that no row is done twice by accident.`,
		Example: `  backfleet submit users-email-norm.yaml
  backfleet submit users-email-norm.yaml --again   # once more, after the first job has ended`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, file, err := a.readSpec(args[0])
			if err != nil {
				return err
			}
			c, done, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			got, err := c.Once(key).Submit(cmd.Context(), spec, file, again, sample)
			if err != nil {
				return err
			}
			a.warn(got.Warnings)
			return a.print(got, func(w io.Writer) { submittedText(w, got) })
		},
	}
	cmd.Flags().BoolVar(&again, "again", false, "make a new job even if one of this name has ended; it does every row once more")
	cmd.Flags().StringVar(&key, "idempotency-key", "", idempotencyHelp)
	cmd.Flags().BoolVar(&sample.NoSample, "no-sample", false, noSampleHelp)
	return cmd
}

// submittedText tells what became of a submission.
func submittedText(w io.Writer, got api.Submitted) {
	switch {
	case got.Job.State == job.AwaitingApproval:
		say(w, "job %s (%s) of database %s awaits the approval of another person: backfleet approve %s", got.Job.Name, got.Job.ID, got.Job.Database, got.Job.Name)
	case got.Created:
		say(w, "job %s (%s) of database %s is stored; follow it with: backfleet status %s", got.Job.Name, got.Job.ID, got.Job.Database, got.Job.Name)
	default:
		say(w, "job %s (%s) of database %s is there already and is %s; nothing changed", got.Job.Name, got.Job.ID, got.Job.Database, got.Job.State)
	}
}

const idempotencyHelp = "a `text` of your own: the same request under it is answered as before for a week, so that a script may try it again"

// warn tells what would hold a job back.
func (a *app) warn(lines []string) {
	for _, l := range lines {
		say(a.stderr, "warning: %s", l)
	}
}
