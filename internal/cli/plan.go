package cli

import (
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) planCommand() *cobra.Command {
	var sample api.Sample
	cmd := &cobra.Command{
		Use:   "plan JOB.yaml",
		Short: "Check a spec against the live database and show what it would do",
		Long: `Check a spec against the live database and show what a run would do: table, rows, key, ranges, index, columns,
triggers, replicas, headroom and warnings. Nothing is changed. A spec that cannot go well is refused with one line for each
reason and exit code 2. "-" reads the spec from the standard input.

It forecasts duration, WAL and growth from at most ten small batches, spread over the table, that it runs and rolls back within five
seconds. Triggers fire in them. A rollback leaves some WAL and dead rows, and does not undo what happens outside of the transaction:
values drawn from a sequence, or what a function does on other servers. --no-sample runs none, and makes no forecast.`,
		Example: `  backfleet plan users-email-norm.yaml
  backfleet plan users-email-norm.yaml --workers 16
  backfleet plan users-email-norm.yaml -o json | jq .forecast
  generate-spec | backfleet plan -`,
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
			plan, err := c.Plan(cmd.Context(), spec, file, sample)
			if err != nil {
				return err
			}
			var failed error
			err = a.print(plan, func(w io.Writer) { failed = renderPlan(w, plan, a.colors(w)) })
			if err != nil {
				return err
			}
			return failed
		},
	}
	cmd.Flags().BoolVar(&sample.NoSample, "no-sample", false, noSampleHelp)
	cmd.Flags().IntVar(&sample.Slots, "workers", preflight.DefaultSlots, "slots that the forecast assumes, at most the job's workers.max")
	return cmd
}

const noSampleHelp = "run no sample batches; there is no forecast then"

// maxSpec is how many bytes the API takes for a request.
const maxSpec = 1 << 20

// readSpec reads a spec file, or the standard input for "-", and returns the name to call it in errors.
func (a *app) readSpec(path string) (text []byte, name string, err error) {
	if path == "-" {
		text, err = io.ReadAll(a.stdin)
		name = "stdin"
	} else {
		text, err = os.ReadFile(path)
		name = filepath.Base(path)
	}
	if err != nil {
		return nil, "", usage("spec: %w; give the path of a job file", err)
	}
	switch {
	case len(text) == 0:
		return nil, "", usage("%s: the file is empty; begin with the job's name", name)
	case len(text) > maxSpec:
		return nil, "", usage("%s: %s are no job file, which holds at most %s; give the path of a job file", name, words.Count(len(text))+" bytes", words.Count(maxSpec))
	}
	return text, name, nil
}
