package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}

func newApp(environ ...string) (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	return &app{stdin: strings.NewReader(""), stdout: &out, stderr: &err, environ: environ, now: time.Now}, &out, &err
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	a, _, _ := newApp()
	seen := map[string]bool{}
	walk(a.command(), func(c *cobra.Command) {
		path := c.CommandPath()
		seen[path] = true
		require.NotEmpty(t, c.Short, path)
		require.NotEmpty(t, c.Example, path)
		require.False(t, strings.HasSuffix(c.Short, "."), path)
		for line := range strings.Lines(c.Example) {
			require.True(t, strings.HasPrefix(line, "  "), "%s: %q", path, line)
		}
		if !c.HasSubCommands() && c.Runnable() {
			require.Contains(t, c.Example, "backfleet", path)
		}
	})
	for _, name := range []string{"run", "plan", "submit", "approve", "clone", "db set", "status", "watch", "pause", "resume", "cancel", "set", "skip", "retry", "verify", "report",
		"throttle hold", "throttle release", "throttle show", "throttle set", "throttle override", "coordinator", "worker", "db init", "db grants", "token new", "token list", "token revoke", "doctor", "version", "completion", "exit-codes"} {
		require.True(t, seen["backfleet "+name], name)
	}
}

func TestHelpNamesEveryExitCode(t *testing.T) {
	a, out, _ := newApp()
	require.Equal(t, exitOK, a.run(t.Context(), []string{"help", "exit-codes"}))
	for _, e := range exitCodes {
		require.Contains(t, out.String(), e.meaning)
	}
}

func TestHelpForWhatIsNoCommandIsAnErrorOfUse(t *testing.T) {
	for args, want := range map[string]string{
		"help statsu":      `"statsu" is not a command of backfleet; did you mean status?`,
		"help db grant":    `"grant" is not a command of backfleet db; did you mean grants?`,
		"help nope":        `"nope" is not a command of backfleet; see backfleet --help`,
		"help run the job": `"the" is not a command of backfleet run; see backfleet run --help`,
	} {
		a, out, errs := newApp()
		require.Equal(t, exitRefused, a.run(t.Context(), strings.Fields(args)), args)
		require.Contains(t, errs.String(), want)
		require.Empty(t, out.String(), args)
	}
	for args, want := range map[string]string{"help": "Usage:", "help db grants": "backfleet db grants", "help help": "backfleet help"} {
		a, out, _ := newApp()
		require.Equal(t, exitOK, a.run(t.Context(), strings.Fields(args)), args)
		require.Contains(t, out.String(), want)
	}
}

func TestCompletionKnowsTheCommands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		a, out, _ := newApp()
		require.Equal(t, exitOK, a.run(t.Context(), []string{"completion", shell}))
		require.Contains(t, out.String(), "backfleet")
	}
}

func TestPartsStopInReverseAndTellWhoEndedEarly(t *testing.T) {
	p := newParts()
	var order []string
	p.then("first", func() { order = append(order, "first") })
	p.start("second", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "second")
		return ctx.Err()
	})
	broken := errors.New("disk full")
	fail := make(chan struct{})
	p.start("third", func(context.Context) error {
		<-fail
		return broken
	})
	close(fail)
	err := p.wait(t.Context())
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "third: disk full")
	require.ErrorIs(t, p.stopButFirst(), broken)
	require.Equal(t, []string{"second"}, order)
	require.NoError(t, p.stop())
	require.Equal(t, []string{"second", "first"}, order)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, newParts().wait(ctx))
}

func TestProcessIDsAreToldFromPeople(t *testing.T) {
	require.Regexp(t, member, processID())
	require.Regexp(t, workerID, processID())
	first := processID()
	require.NotEqual(t, first, processID())
	for _, person := range []string{"ann@ops1", "olga", "root@db7-4711"} {
		require.NotRegexp(t, member, person)
	}
}
