package preflight

import (
	"fmt"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// forecast writes what the sample batches predict, with what they assume.
func (d *document) forecast(p Plan) {
	d.head("Forecast")
	f := p.Forecast
	if f == nil {
		d.fact("not made", "%s", "no sample batches were run; see the warnings, or leave --no-sample out")
		return
	}
	d.fact("duration", "%s, verification included", d.paint.bold(DurationText(f.Duration)))
	if f.Finish.Latest != nil && f.Finish.Earliest != nil {
		d.fact("done", "%s to %s, if it begins now", clock(*f.Finish.Earliest), clock(*f.Finish.Latest))
	}
	d.fact("limited by", "%s, at %s rows/s", f.Binding, span(f.Rate, grouped))
	d.fact("rows written", "%s of %s that are walked", span(f.Rows, grouped), grouped(f.Keys))
	d.fact("WAL", "%s", span(f.WAL, bytesText))
	if p.Statement == nil {
		d.fact("growth", "table %s, indexes %s, until vacuum lets the space be used again", span(f.Heap, bytesText), span(f.Index, bytesText))
	}
	d.list("assumed", len(f.Assumes), func(i int) string { return f.Assumes[i] })
	s := f.Sample
	fired := "no trigger fired"
	if n := len(p.Triggers); n > 0 {
		fired = counted(int64(n), "trigger") + " fired in them"
	}
	d.fact("from", "%s, run and rolled back in %s: %s walked, %s %s; %s", countedIn(int64(s.Batches), "sample batch", "sample batches"), s.Took,
		counted(s.Keys, "key"), counted(s.Rows, "row"), choose(p.Statement == nil, "updated", "written"), fired)
	d.fact("", "%s", "they left WAL and dead rows; values drawn from sequences, and what functions did elsewhere, stay")
}

// DurationText is a forecast's duration for a person: "3m20s to 9m40s".
func DurationText(t job.Times) string {
	switch from, to := rounded(t.Low), rounded(t.High); {
	case t.High == 0 && t.Low == 0:
		return "the windows never let it end"
	case t.High == 0:
		return from + " or more: the windows may never let it end"
	case from == to:
		return "about " + from
	default:
		return from + " to " + to
	}
}

// rounded shows a duration in the two units that matter; a forecast knows no more.
func rounded(t job.Duration) string {
	switch d := t.D(); {
	case d >= 48*time.Hour:
		h := d.Round(time.Hour) / time.Hour
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	case d >= time.Hour:
		m := d.Round(time.Minute) / time.Minute
		return fmt.Sprintf("%dh%02dm", m/60, m%60)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

func span(a job.Amount, text func(int64) string) string {
	low, high := text(a.Low), text(a.High)
	if low == high {
		return low
	}
	return low + " to " + high
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func countedIn(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}
