// Package cli is the command line of Backfleet: one file a subcommand, and wire.go where the fleet's parts are put together.
package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/backfleet/backfleet/internal/observe"
)

// app is one invocation: its streams, its environment and its global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time

	api, tokenFile, ca  string
	logLevel, logFormat string
	output              string
}

// Main runs one command line and returns the exit code. The first SIGINT, SIGTERM or SIGHUP (a closed terminal, unless nohup
// ignores it) ends the command's context, so that it can stop in order; at the second Main returns at once, whatever still runs.
func Main(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, environ: environ, now: time.Now}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	ended := make(chan int, 1)
	go func() { ended <- a.run(ctx, args) }()
	for {
		select {
		case code := <-ended:
			return code
		case s := <-signals:
			if ctx.Err() != nil {
				return exitInterrupted
			}
			stop(interrupt{s})
		}
	}
}

// interrupt is the cause of a context that a signal ended.
type interrupt struct{ os.Signal }

func (i interrupt) Error() string { return "stopped by " + i.String() }

// run executes one command line.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && errors.Is(err, context.Canceled) {
		if i := (interrupt{}); errors.As(context.Cause(ctx), &i) {
			err = &exitError{code: exitInterrupted, err: i}
		}
	}
	return a.end(err)
}

// command builds the tree of subcommands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "backfleet",
		Short: "Backfills for huge PostgreSQL tables: throttled, resumable, proven",
		Long: `Backfleet splits a huge table into key ranges and lets a fleet of workers update them in small batches, no faster
than the database and its replicas can bear. Progress is committed with the rows, so any process may die at any time, and a job
is complete only after its proof.

Databases are named. The DSN of ` + "`database: main`" + ` in a spec is read from BACKFLEET_DATABASE_MAIN, or from the file that
BACKFLEET_DATABASE_MAIN_FILE names; it is never a flag.

Commands that read or steer jobs ask the API at --api. Without --api they read and write the ledger directly by those DSNs, so
they work while every coordinator is down.`,
		Example: `  export BACKFLEET_DATABASE_MAIN=postgres://backfleet@db1/app
  backfleet plan users-email-norm.yaml
  backfleet run users-email-norm.yaml`,
		Version: observe.ThisBuild().Version, SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFlags() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, c.CommandPath())
	})

	f := root.PersistentFlags()
	f.StringVar(&a.api, "api", a.env("BACKFLEET_API"), "address of the API, e.g. http://127.0.0.1:8080 (BACKFLEET_API)")
	f.StringVar(&a.tokenFile, "api-token-file", a.env("BACKFLEET_API_TOKEN_FILE"), "file with the API's token (BACKFLEET_API_TOKEN_FILE)")
	f.StringVar(&a.ca, "api-ca", a.env("BACKFLEET_API_CA"), "CA certificates that the certificate of an https API is checked against (BACKFLEET_API_CA; default: the system's)")
	f.StringVar(&a.logLevel, "log-level", "info", "log from this level up: "+strings.Join(observe.LogLevels, ", "))
	f.StringVar(&a.logFormat, "log-format", "console", "format of the log on stderr: "+strings.Join(observe.LogFormats, ", "))
	f.StringVarP(&a.output, "output", "o", "text", "format of the answer on stdout: text, json")

	root.AddGroup(
		&cobra.Group{ID: groupJob, Title: "Jobs:"},
		&cobra.Group{ID: groupFleet, Title: "Fleet:"},
		&cobra.Group{ID: groupSetup, Title: "Set-up:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupJob, a.planCommand(), a.runCommand(), a.submitCommand(), a.approveCommand(), a.statusCommand(), a.watchCommand(), a.pauseCommand(), a.resumeCommand(),
		a.cancelCommand(), a.setCommand(), a.throttleCommand(), a.skipCommand(), a.retryCommand(), a.cloneCommand(), a.verifyCommand(), a.reportCommand(), a.phaseCommand())
	add(groupFleet, a.coordinatorCommand(), a.workerCommand())
	add(groupSetup, a.dbCommand(), a.tokenCommand(), a.doctorCommand(), a.versionCommand(), a.completionCommand())
	root.AddCommand(exitCodesTopic())
	root.SetHelpCommand(helpCommand())
	strict(root)
	return root
}

const (
	groupJob   = "job"
	groupFleet = "fleet"
	groupSetup = "setup"
)

// strict makes wrong arguments an error of use, which exits with 2 and says where the help is.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%w; see %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.SuggestionsMinimumDistance = 2 // a group does not inherit it
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownCommand(c, args[0])
		}
	}
}

func unknownCommand(c *cobra.Command, name string) error {
	fix := "see " + c.CommandPath() + " --help"
	if near := c.SuggestionsFor(name); len(near) > 0 {
		fix = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage("%q is not a command of %s; %s", name, c.CommandPath(), fix)
}

// checkFlags checks the global flags before any command runs.
func (a *app) checkFlags() error {
	if !slices.Contains([]string{"text", "json"}, a.output) {
		return usage("output: %q is not a format; use text or json", a.output)
	}
	if _, err := a.log(); err != nil {
		return usage("%w", err)
	}
	return nil
}

// log makes the logger that the flags ask for.
func (a *app) log() (*zap.Logger, error) { return observe.NewLogger(a.stderr, a.logFormat, a.logLevel) }

// env reads one variable of the environment.
func (a *app) env(name string) string {
	for i := len(a.environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(a.environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// print answers a command: the value as JSON with -o json, else the text.
func (a *app) print(v any, text func(io.Writer)) error {
	if a.output != "json" {
		out := &answer{Writer: a.stdout}
		text(out)
		if out.err != nil {
			return answerLost(out.err)
		}
		return nil
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return answerLost(err)
	}
	return nil
}

func answerLost(err error) error {
	return &exitError{code: exitFailure, err: fmt.Errorf("write the answer: %w", err)}
}

// obeyed is what a terminal obeys, or what turns text around: text of a row, an error or a person may hold it. The first alternative are
// colors, which this program writes itself.
var obeyed = regexp.MustCompile(`\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{202a}-\x{202e}\x{2066}-\x{2069}]`)

// harmless takes out of a text what a terminal obeys.
func harmless(text []byte) []byte {
	return obeyed.ReplaceAllFunc(text, func(found []byte) []byte {
		if found[0] == '\x1b' && len(found) > 1 {
			return found
		}
		return nil
	})
}

// answer writes what is harmless on a terminal, and remembers the first error of its writer, as of a full disk, so that no command ends
// well whose answer is lost.
type answer struct {
	io.Writer
	err error
}

func (w *answer) Write(p []byte) (int, error) {
	_, err := w.Writer.Write(harmless(p))
	if err != nil {
		w.err = cmp.Or(w.err, err)
		return 0, err
	}
	return len(p), nil
}

// say writes one line of text.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

// terminal returns the width of w where it is a terminal that understands cursor moves.
func (a *app) terminal(w io.Writer) (width int, ok bool) {
	if out, wrapped := w.(*answer); wrapped {
		w = out.Writer
	}
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) || a.env("TERM") == "dumb" {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return width, true
}

// colors reports whether text for w may be colored.
func (a *app) colors(w io.Writer) bool {
	_, ok := a.terminal(w)
	return ok && a.env("NO_COLOR") == ""
}
