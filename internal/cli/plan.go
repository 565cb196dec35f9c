package cli

import (
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan JOB.yaml",
		Short: "Check a spec against the live database and show what it would do",
		Long: `Check a spec against the live database and show what a run would do: table, rows, key, ranges, index, columns,
triggers, replicas, headroom and warnings. Nothing is changed. A spec that cannot go well is refused with one line for each
reason and exit code 2. "-" reads the spec from the standard input.`,
		Example: `  backfleet plan users-email-norm.yaml
  backfleet plan users-email-norm.yaml -o json | jq .warnings
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
			plan, err := c.Plan(cmd.Context(), spec, file)
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
}

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
	return text, name, nil
}
