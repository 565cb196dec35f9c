package observe

import (
	"context"
	"encoding/json"
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

// A person with nothing but the `nats` command sees which jobs there are, what remains of each, and what is stuck.
func TestTheNATSCommandTellsOfJobs(t *testing.T) {
	bin := natsCommand(t)
	f := startFleet(t)
	nats := func(ctx context.Context, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, bin, append([]string{"--server", f.nats.URL(), "--no-context"}, args...)...)
		cmd.Env = []string{"HOME=" + t.TempDir(), "COLUMNS=200"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("nats %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return string(out), nil
	}

	await(t, "the stream's report tells of ranges and of a consumer a job", func(ctx context.Context) error {
		out, err := nats(ctx, "stream", "report")
		if err != nil {
			return err
		}
		// Name, storage, placement, consumers, messages: two jobs are open.
		return matches(out, `│ BACKFLEET +│ File +│[^│]*│ 2 +│ [1-9]\d* `)
	})
	await(t, "the consumers' report is a row a job", func(ctx context.Context) error {
		out, err := nats(ctx, "consumer", "report", "BACKFLEET")
		if err != nil {
			return err
		}
		// norm has ranges with workers and ranges that remain; nightly waits for its window, so nobody has one of its five; doomed has
		// failed and is gone.
		return matches(out,
			`│ job_main_norm +│ Pull +│ Explicit +│[^│]*│ [1-4] +│[^│]*│ 1\d\d `,
			`│ job_main_nightly +│ Pull +│ Explicit +│[^│]*│ 0 +│[^│]*│ 5 `,
			`^[^d]*(d[^o][^d]*)*$`)
	})

	// Why a job does not move stands in its consumer's description.
	f.cli("pause", "norm", "--reason", "checkout is slow")
	for name, says := range map[string]string{
		"job_main_norm":    "backfill norm of public.accounts, job [0-9A-Z]{26}: paused: checkout is slow",
		"job_main_nightly": "backfill nightly of public.quiet, job [0-9A-Z]{26}: running",
	} {
		await(t, name+" says how its job stands", func(ctx context.Context) error {
			out, err := nats(ctx, "consumer", "info", "BACKFLEET", name, "--json")
			if err != nil {
				return err
			}
			var info struct {
				Config struct{ Description string }
			}
			if err := json.Unmarshal([]byte(out), &info); err != nil {
				return err
			}
			return matches(info.Config.Description, "^"+says)
		})
	}
	await(t, "a paused job's ranges are back in the ledger or wait in the stream: no worker has one", func(ctx context.Context) error {
		out, err := nats(ctx, "consumer", "report", "BACKFLEET")
		if err != nil {
			return err
		}
		return matches(out, `│ job_main_norm +│ Pull +│ Explicit +│[^│]*│ 0 `)
	})
}

func matches(text string, patterns ...string) error {
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			return fmt.Errorf("no %s in:\n%s", p, text)
		}
	}
	return nil
}
