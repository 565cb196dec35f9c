package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
	"github.com/backfleet/backfleet/throttle"
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
	line := func(key, text string) { say(w, "%-12s %s", key, text) }
	line("database", t.Database)
	line("now", nowText(t))
	if t.Brake != nil {
		line("brake", t.Brake.Why().Text)
	}
	line("override", overrideText(t.Rules.Override))
	line("caps", capsText(t.Rules.MaxRowsPerSecond, t.Rules.MaxWALBytesPerSecond))
	for _, j := range t.Jobs {
		say(w, "job %s, %s", j.Name, j.State)
		line("  caps", capsText(j.Rules.MaxRowsPerSecond, j.Rules.MaxWALBytesPerSecond))
		line("  lag", lagRulesText(j.Rules))
		line("  schedule", scheduleText(j.Schedule))
		key := "  limited by"
		for _, r := range j.Limiting {
			line(key, words.Reason(r))
			key = ""
		}
	}
	if len(t.Signals) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "SIGNAL\tNOW\tSLOWS\tSTOPS\tUNIT\tABOUT")
	for _, s := range t.Signals {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, readingText(s), thresholdText(s, s.Soft), thresholdText(s, s.Hard),
			unitText(s.Unit), orDash(aboutText(s)))
	}
	_ = tw.Flush()
}

// lagRulesText tells the thresholds of replica lag, and which replicas do not count.
func lagRulesText(t job.ThrottleRules) string {
	text := fmt.Sprintf("target %s, soft %s, hard %s", t.Lag.Target, t.Lag.Soft, t.Lag.Hard)
	for _, name := range slices.Sorted(maps.Keys(t.Replicas)) {
		if throttle.Policy(t.Replicas[name]) == throttle.PolicyIgnore {
			text += "; " + name + " is ignored"
		}
	}
	return text
}

func scheduleText(s api.ScheduleNow) string {
	text := s.Why
	if text == "" {
		text = "none: the full rate always"
	}
	if s.Till != nil {
		text += "; changes at " + words.At(*s.Till)
	}
	return text
}

// readingText is what was read last. A signal that the server does not have, or that only the leader knows, shows a dash.
func readingText(s api.SignalInForce) string {
	switch {
	case s.Now == nil:
		return "-"
	case s.Now.At.IsZero():
		return "not known"
	case s.Unit == throttle.UnitVerdict && s.Now.Value < 1:
		return "200"
	case s.Unit == throttle.UnitVerdict:
		return "429"
	}
	return valueText(s.Unit, s.Now.Value)
}

// aboutText says whom a reading is about, what a check asks, or why nothing was read.
func aboutText(s api.SignalInForce) string {
	var parts []string
	if s.Now != nil {
		parts = append(parts, s.Now.Detail, s.Now.Error)
	}
	parts = slices.DeleteFunc(append(parts, s.Asks), func(p string) bool { return p == "" })
	return words.Clip(strings.Join(parts, "; "), 80)
}

func valueText(unit string, v float64) string {
	switch unit {
	case throttle.UnitShare:
		return strconv.FormatFloat(100*v, 'g', 3, 64) + " %"
	case throttle.UnitSeconds:
		return words.Long(time.Duration(v * float64(time.Second)))
	}
	if v == math.Trunc(v) {
		return words.Count(int64(v))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func thresholdText(s api.SignalInForce, v *float64) string {
	switch {
	case v == nil:
		return "-"
	case s.Unit == throttle.UnitVerdict:
		return "429"
	}
	text := strconv.FormatFloat(*v, 'g', -1, 64)
	switch s.Unit {
	case throttle.UnitShare:
		text = strconv.FormatFloat(100**v, 'g', 6, 64) + " %"
	case throttle.UnitSeconds:
		text = words.Long(time.Duration(*v * float64(time.Second)))
	case "", "transactions":
		if *v == math.Trunc(*v) {
			text = words.Count(int64(*v))
		}
	}
	if s.Below {
		return "≤ " + text
	}
	return "≥ " + text
}

// unitText leaves out the units that show in the number itself.
func unitText(unit string) string {
	switch unit {
	case throttle.UnitShare, throttle.UnitSeconds, throttle.UnitVerdict:
		return "-"
	}
	return orDash(unit)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
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

func capsText(rows int, wal job.Bytes) string {
	var caps []string
	if rows > 0 {
		caps = append(caps, words.Rate(float64(rows)))
	}
	if wal > 0 {
		caps = append(caps, wal.String()+" of WAL/s")
	}
	if len(caps) == 0 {
		return "none"
	}
	return strings.Join(caps, ", ")
}
