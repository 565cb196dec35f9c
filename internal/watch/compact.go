package watch

import (
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

// Compact is one job in a few lines, as `run` shows it. It remembers the course of the rate. Its zero value is ready.
type Compact struct{ rates []float64 }

// Lines returns a status in lines of at most width cells, without color.
func (c *Compact) Lines(st job.Status, width int) []string {
	head := line{say(plain, "%s  %s", st.Name, st.State)}
	if st.Reason != "" {
		head = append(head, span{": " + st.Reason, plain})
	}
	tail := " " + words.Percent(st.Fraction) + ", " + words.Ranges(st)
	lines := []line{head, {span{bar(st.Fraction, min(60, width-cells(tail))) + tail, plain}}}
	add := func(format string, args ...any) { lines = append(lines, line{say(plain, format, args...)}) }
	if st.State.Ended() {
		add("%s written", words.Plural(st.Rows, "row"))
	} else {
		add("%s, %s, %s", words.Plural(st.Rows, "row"), words.Pace(st), words.Plural(len(st.Workers), "worker"))
		if c.rates = appended(c.rates, st.Rate); st.Live && len(c.rates) > 2 {
			add("rate: %s", strings.TrimLeft(spark(c.rates, min(60, width-6), 1), " "))
		}
		if len(st.Lag) > 0 {
			add("lag: %s%s", words.Lags(st.Lag, false), ofTarget(st))
		}
		add("limited by: %s", words.LimitedBy(st))
	}
	if t := words.Trouble(st); t != "" {
		add("trouble: %s", t)
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.render(width, nil)
	}
	return out
}

func ofTarget(st job.Status) string {
	if t := st.Limits.Throttle.Lag.Target.D(); t > 0 {
		return ", target " + words.Long(t)
	}
	return ""
}

// Line is a status in one line, for logs and pipes.
func Line(st job.Status) string {
	parts := []string{fmt.Sprintf("%s %s %s", st.Name, st.State, words.Percent(st.Fraction)), words.Ranges(st), words.Plural(st.Rows, "row")}
	if !st.State.Ended() {
		parts = append(parts, words.Pace(st), words.Plural(len(st.Workers), "worker"))
		if len(st.Lag) > 0 {
			parts = append(parts, "lag "+words.Lags(st.Lag, false))
		}
		parts = append(parts, "limited by "+words.LimitedBy(st))
	}
	if t := words.Trouble(st); t != "" {
		parts = append(parts, t)
	}
	return clean(strings.Join(parts, "; "))
}
