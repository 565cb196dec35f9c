package observe

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// natsCommand builds the command that operators of NATS have, in the version that test/natscli names.
func natsCommand(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "nats")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=test/natscli/go.mod", "-o", bin, "github.com/nats-io/natscli/nats")
	build.Dir = "../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// report is a table that `nats` prints: its rows by their first cell, each as its cells by the names of their columns.
type report map[string]map[string]string

func parseReport(text string) report {
	all := report{}
	var columns []string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "│")
		if len(cells) < 4 {
			continue
		}
		cells = cells[1 : len(cells)-1]
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if columns == nil {
			columns = cells
			continue
		}
		row := map[string]string{}
		for i, c := range cells {
			row[columns[i]] = c
		}
		all[cells[0]] = row
	}
	return all
}

// is complains unless a row's cell matches.
func (r report) is(row, column, pattern string) error {
	if cell, there := r[row][column]; !there || !regexp.MustCompile("^"+pattern+"$").MatchString(cell) {
		return fmt.Errorf("%s of %s is %q, not %s, in %v", column, row, cell, pattern, r)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A person with nothing but the `nats` command sees which jobs there are, what remains of each, and what is stuck and why.
func TestTheNATSCommandTellsOfJobs(t *testing.T) {
	bin := natsCommand(t)
	f := startFleet(t)
	ask := func(what string, says func(report) error, args ...string) {
		t.Helper()
		await(t, what, func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, bin, append([]string{"--server", f.nats.URL(), "--no-context"}, args...)...)
			cmd.Env = []string{"HOME=" + t.TempDir(), "COLUMNS=250"}
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("nats %s: %w: %s", strings.Join(args, " "), err, out)
			}
			if err := says(parseReport(string(out))); err != nil {
				return fmt.Errorf("%w:\n%s", err, out)
			}
			return nil
		})
	}

	ask("the stream's report tells of a consumer for each open job, and of ranges", func(r report) error {
		return firstError(r.is("BACKFLEET", "Consumers", "2"), r.is("BACKFLEET", "Messages", `1\d\d|200|205`))
	}, "stream", "report")
	ask("the consumers' report is a row a job", func(r report) error {
		if _, there := r["job_main_doomed"]; there {
			return fmt.Errorf("the job that failed is still there: %v", r)
		}
		return firstError(
			r.is("job_main_norm", "Ack Pending", "[1-4]"), r.is("job_main_norm", "Unprocessed", `1\d\d / \d+%`), // it is at work
			r.is("job_main_nightly", "Ack Pending", "0"), r.is("job_main_nightly", "Unprocessed", `5 / \d+%`), // it waits for its window
		)
	}, "consumer", "report", "BACKFLEET")

	// Why a job does not move stands in its consumer's description.
	f.cli("pause", "norm", "--reason", "checkout is slow")
	ask("the list of consumers says how each job stands", func(r report) error {
		return firstError(
			r.is("job_main_norm", "Description", "backfill norm of public.accounts, job [0-9A-Z]{26}: paused: checkout is slow"),
			r.is("job_main_norm", "Ack Pending", "0"),
			r.is("job_main_nightly", "Description", "backfill nightly of public.quiet, job [0-9A-Z]{26}: running.*"),
		)
	}, "consumer", "ls", "BACKFLEET")
}
