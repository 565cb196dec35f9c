package words

import (
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// Pace tells the rate of a job and the time it has left, or why they are not known.
func Pace(s job.Status) string {
	switch {
	case !s.Live:
		return "rate not known"
	case s.ETA == nil:
		return Rate(s.Rate) + ", time left not known"
	case !s.ETA.Known():
		return Rate(s.Rate) + ", time left not known: " + s.ETA.Note
	}
	text := fmt.Sprintf("%s, %s left", Rate(s.Rate), Within(s.ETA.Low, s.ETA.High))
	if s.ETA.Note != "" {
		text += " (" + s.ETA.Note + ")"
	}
	return text
}

// Reason tells a reason, and whether it stops every batch.
func Reason(r job.Reason) string {
	if r.Hard {
		return r.Text + " (stops every batch)"
	}
	return r.Text
}

// Change tells a change of a setting.
func Change(c job.Change) string {
	old := c.Old
	if old == "" {
		old = "unset"
	}
	return c.Path + ": " + old + " → " + c.New
}

// Trouble tells what of a job went wrong so far; nothing did where it is empty.
func Trouble(s job.Status) string {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{
		{s.Quarantine, "quarantined row"}, {int64(s.Ranges.Failed), "failed range"}, {int64(s.Ranges.Skipped), "skipped range"},
		{int64(s.Ranges.Dropped), "dropped range"}, {s.Retries, "batch retry"},
	} {
		if p.n > 0 {
			parts = append(parts, Plural(p.n, p.what))
		}
	}
	for _, wk := range s.Workers {
		if wk.Error != "" {
			return strings.Join(append(parts, fmt.Sprintf("last on range %d: %s", wk.Range, wk.Error)), ", ")
		}
	}
	return strings.Join(parts, ", ")
}

// Ranges tells how many ranges of the present phase are done; "+" where more are being planned.
func Ranges(st job.Status) string {
	more := ""
	if !st.Planned {
		more = "+"
	}
	return fmt.Sprintf("ranges %s/%s%s", Count(st.Ranges.Done), Count(st.Ranges.Total), more)
}

// LimitedBy names what holds the job back now.
func LimitedBy(st job.Status) string {
	switch {
	case len(st.Limiting) > 0:
		return Reason(st.Limiting[0])
	case st.State == job.Paused:
		return "pause"
	case st.State == job.Planning:
		return "planning"
	case len(st.Workers) == 0:
		return "no worker carries a range"
	}
	return "nothing but the workers"
}

// Lost is the part of a run that was lost to each reason, the most first; what is less than a thousandth is nothing.
func Lost(all []job.Loss) string {
	var parts []string
	for i, l := range all {
		if i == 5 {
			parts = append(parts, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		parts = append(parts, l.Signal+" "+Percent(l.Share))
	}
	return strings.Join(parts, ", ")
}

// Order tells in which order a job walks its table, where it is not that of the key.
func Order(s job.Status) string {
	if s.Order != job.OrderBlock {
		return ""
	}
	return ", by block"
}
