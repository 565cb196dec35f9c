package cli

import (
	"github.com/spf13/cobra"
)

// helpCommand is cobra's own, but that a command which is not there is an error of use.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Help about a command or a topic",
		Long:  "Help about a command, a command of a command, or a topic such as exit-codes.",
		Example: `  backfleet help run
  backfleet help db grants
  backfleet help exit-codes`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			c, rest := descend(cmd.Root(), args)
			var names []string
			if len(rest) == 0 {
				for _, sub := range c.Commands() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest := descend(cmd.Root(), args)
			if len(rest) > 0 {
				return unknownCommand(c, rest[0])
			}
			return c.Help()
		},
	}
}

// descend follows names down the tree; what is left over is no command.
func descend(c *cobra.Command, names []string) (*cobra.Command, []string) {
	for len(names) > 0 {
		var next *cobra.Command
		for _, sub := range c.Commands() {
			if sub.Name() == names[0] || sub.HasAlias(names[0]) {
				next = sub
			}
		}
		if next == nil {
			break
		}
		c, names = next, names[1:]
	}
	return c, names
}
