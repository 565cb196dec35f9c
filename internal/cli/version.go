package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/observe"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show which build this is",
		Example: "  backfleet version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := observe.ThisBuild()
			return a.print(b, func(w io.Writer) { say(w, "backfleet %s (commit %s, %s, %s)", b.Version, b.Commit, b.Go, b.Platform) })
		},
	}
}
