package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

// The exit codes. [exitCodes] tells them to people.
const (
	exitOK          = 0
	exitFailure     = 1
	exitRefused     = 2
	exitWithErrors  = 3
	exitNeedsPerson = 4
	exitUnreachable = 5
	exitInterrupted = 130
)

var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "done; for run: the job is complete, which means verified"},
	{exitFailure, "failure: something broke that is none of the below"},
	{exitRefused, "bad input or refused: the line says why, and nothing was changed"},
	{exitWithErrors, "run, report, watch: the job ended complete_with_errors; the report lists the rows. phase check: rows diverge"},
	{exitNeedsPerson, "run, report, watch: the job failed, was cancelled, or is paused until a person acts"},
	{exitUnreachable, "not reachable: a database, NATS or the API did not answer"},
	{exitInterrupted, "stopped by a signal: run before its job ended (run it again to go on), or any command by a second signal"},
}

func exitCodesTopic() *cobra.Command {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, e := range exitCodes {
		_, _ = fmt.Fprintf(w, "  %d\t%s\n", e.code, e.meaning)
	}
	_ = w.Flush()
	return &cobra.Command{
		Use:     "exit-codes",
		Short:   "What the exit codes mean",
		Long:    "The exit codes of every command:\n\n" + strings.TrimRight(b.String(), "\n"),
		Example: "  backfleet run job.yaml || [ $? -eq 3 ]",
	}
}

// exitError ends a command with a code. Without an error it says nothing more: the command has said it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return &exitError{code: exitRefused, err: fmt.Errorf(format, args...)}
}

// end tells an error in one line, or in one line a refusal, and returns the exit code.
func (a *app) end(err error) int {
	if err == nil {
		return exitOK
	}
	code, text := exitCode(err), err.Error()
	var exit *exitError
	if errors.As(err, &exit) && exit.err == nil {
		return code
	}
	for line := range strings.Lines(strings.TrimSpace(observe.Redact(text))) {
		say(a.stderr, "backfleet: %s", harmless([]byte(strings.TrimSpace(line))))
	}
	return code
}

// exitCode sorts an error.
func exitCode(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if code, ok := queueExit(err); ok {
		return code
	}
	switch api.AsProblem(err).Kind {
	case api.Unavailable:
		return exitUnreachable
	case api.Internal:
		return exitFailure
	default:
		return exitRefused
	}
}

// stateExit is the exit code of a command that shows how a job ended.
func stateExit(s job.State) int {
	switch s {
	case job.CompleteWithErrors:
		return exitWithErrors
	case job.Failed, job.Cancelled, job.Paused, job.AwaitingApproval:
		return exitNeedsPerson
	default:
		return exitOK
	}
}
