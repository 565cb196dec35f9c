package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// databaseVariable hands the DSN to backfleet: by the environment, never by a file or the process list.
const databaseVariable = "BACKFLEET_DATABASE_MAIN="

// refusedExit is the exit code of what was refused: nothing was changed.
const (
	refusedExit  = 2
	divergesExit = 3
)

// phase runs `backfleet phase ...`, prints it with its output, and fails unless it exits so and says what each of wanted matches.
func (d *demo) phase(ctx context.Context, command string, exit int, wanted ...string) (string, error) {
	return d.backfleet(ctx, "phase "+command, exit, wanted...)
}

func (d *demo) backfleet(ctx context.Context, command string, exit int, wanted ...string) (string, error) {
	fmt.Printf("\n    $ backfleet %s\n", command)
	text, err := d.quiet(ctx, command, exit, wanted...)
	for line := range strings.Lines(text) {
		fmt.Print("      ", line)
	}
	return text, err
}

// quiet is backfleet without the printing.
func (d *demo) quiet(ctx context.Context, command string, exit int, wanted ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.bin, split(command)...)
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), databaseVariable+d.dsn(roleOwner), "USER=ann")
	out, err := cmd.CombinedOutput()
	text := string(out)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return text, fmt.Errorf("backfleet %s: %w", command, err)
	}
	if code := cmd.ProcessState.ExitCode(); code != exit {
		return text, fmt.Errorf("backfleet %s ended with exit code %d, not %d:\n%s", command, code, exit, text)
	}
	for _, w := range wanted {
		if !regexp.MustCompile(w).MatchString(text) {
			return text, fmt.Errorf("backfleet %s does not say %q:\n%s", command, w, text)
		}
	}
	return text, nil
}

// split takes a command line apart; single quotes hold words together.
func split(command string) (words []string) {
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// until asks every moment until the answer is yes.
func until(ctx context.Context, what string, patience time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not so after %s", patience))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := ask()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if yes {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
}

// opens waits until the next gate is open, as `backfleet phase show` says.
func (d *demo) opens(ctx context.Context) error {
	return until(ctx, "the gate opens", time.Minute, func() (bool, error) {
		text, err := d.quiet(ctx, "phase show "+migrationName, 0)
		return strings.Contains(text, "the gate is open"), err
	})
}
