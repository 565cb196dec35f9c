package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Write the completion script of a shell",
		Long:  "Write the completion script of a shell: bash, zsh, fish or powershell.",
		Example: `  source <(backfleet completion bash)
  backfleet completion zsh > "${fpath[1]}/_backfleet"`,
		ValidArgs: shells,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
		},
	}
}

// completionTime is how long a shell waits for the names of jobs at most.
const completionTime = 2 * time.Second

// completeJobs offers the names of jobs for a command's first argument, read as every command reads them: from the API, else from the
// ledgers. open leaves out those that have ended. What does not answer in time offers nothing.
func (a *app) completeJobs(open bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothingElse = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		if len(args) > 0 {
			return nil, nothingElse
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		c, done, err := a.client(ctx)
		if err != nil {
			return nil, nothingElse
		}
		defer done()
		jobs, err := c.Jobs(ctx, "")
		if err != nil {
			return nil, nothingElse
		}
		homes := map[string]map[string]bool{} // the databases of each name
		for _, j := range jobs.Jobs {
			if homes[j.Name] == nil {
				homes[j.Name] = map[string]bool{}
			}
			homes[j.Name][j.Database] = true
		}
		var offers []cobra.Completion
		told := map[string]bool{} // the newest of a name stands for the others
		for _, j := range jobs.Jobs {
			name := j.Name
			if len(homes[name]) > 1 {
				name = j.Database + "/" + name
			}
			if told[name] || open && j.State.Ended() {
				continue
			}
			told[name] = true
			offers = append(offers, cobra.CompletionWithDesc(name, string(j.State)+" "+j.Table))
		}
		return offers, nothingElse
	}
}
