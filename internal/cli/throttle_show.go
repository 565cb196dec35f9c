package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
)

func (a *app) throttleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show DB",
		Short: "Show what holds a database's batches back, and by which rules",
		Long: `Show what holds a database's batches back now, its hold, its override, its caps, and the caps and windows of its jobs.
Whether a batch may start now is known to the coordinator that leads the database: ask it with --api.`,
		Example: `  backfleet throttle show main
  backfleet throttle show main --api http://127.0.0.1:8080 -o json | jq .go`,
		Args: cobra.ExactArgs(1),
		RunE: a.onDatabase(func(ctx context.Context, c *api.Client, name string) error {
			got, err := c.Throttle(ctx, name)
			if err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) { throttleText(w, got) })
		}),
	}
}

// throttleText writes what holds now first.
func throttleText(w io.Writer, t api.DatabaseThrottle) {
	line := func(key, format string, args ...any) { say(w, "%-11s %s", key, fmt.Sprintf(format, args...)) }
	line("database", "%s", t.Database)
	line("now", "%s", nowText(t))
	if t.Brake != nil {
		line("brake", "%s", t.Brake.Why().Text)
	}
	line("override", "%s", overrideText(t.Rules.Override))
	line("caps", "%s", capsText(t.Rules.MaxRowsPerSecond, t.Rules.MaxWALBytesPerSecond.String()))
	for _, j := range t.Jobs {
		line("job "+j.Name, "%s", j.State)
		line("  caps", "%s", capsText(j.Rules.MaxRowsPerSecond, j.Rules.MaxWALBytesPerSecond.String()))
		key := "  limited by"
		for _, r := range j.Limiting {
			line(key, "%s", reasonText(r))
			key = ""
		}
	}
}

func nowText(t api.DatabaseThrottle) string {
	switch {
	case t.Go != nil && t.Go.OK:
		return "batches may start"
	case t.Go != nil && t.Go.Reason != nil:
		return "no batch may start: " + t.Go.Reason.Text
	case t.Brake != nil:
		return "no batch may start: " + t.Brake.Why().Text
	case t.Leader == nil:
		return "no batch may start: no coordinator leads database " + t.Database
	}
	return "not known here: " + t.Leader.Owner + " leads; ask it with --api"
}

func capsText(rows int, wal string) string {
	var caps []string
	if rows > 0 {
		caps = append(caps, rate(float64(rows)))
	}
	if wal != "0" {
		caps = append(caps, wal+" of WAL/s")
	}
	if len(caps) == 0 {
		return "none"
	}
	return strings.Join(caps, ", ")
}
