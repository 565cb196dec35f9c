package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) throttleSetCommand() *cobra.Command {
	return conditional(&cobra.Command{
		Use:   "set DB PATH=VALUE...",
		Short: "Change the caps of all jobs of a database together",
		Long: `Change the caps of all jobs of a database together; workers follow within a second. The jobs share them by weight, and
each keeps its own caps beside. All values are checked before any is set. 0 is no cap.

The paths are:
  ` + strings.Join(job.DatabasePaths(), "\n  "),
		Example: `  backfleet throttle set main max_wal_bytes_per_second=20MiB
  backfleet throttle set main max_rows_per_second=0`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:], "max_rows_per_second=50000")
			if err != nil {
				return err
			}
			c, done, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			got, err := c.If(seen(cmd)).SetThrottle(cmd.Context(), args[0], values)
			if err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) { changesText(w, got.Changes) })
		},
	})
}

// assignments reads PATH=VALUE arguments. like is an example of one.
func assignments(args []string, like string) (map[string]string, error) {
	values := map[string]string{}
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok || path == "" {
			return nil, usage("set: %q is not PATH=VALUE; write it like %s", arg, like)
		}
		if _, twice := values[path]; twice {
			return nil, usage("set: %s is given twice; give it once", path)
		}
		values[path] = value
	}
	return values, nil
}

// changesText shows what a `set` changed.
func changesText(w io.Writer, changes []job.Change) {
	for _, ch := range changes {
		say(w, "%s", words.Change(ch))
	}
}
