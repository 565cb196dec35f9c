package coordinator

import (
	"fmt"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

const (
	rateTime = 10 * time.Second // over which the rate is averaged
	capDoubt = 0.1              // how far the rows that are left may be from those so far
)

// pace follows a job's rate, and how long it still takes.
type pace struct {
	round int
	phase *throttle.Pace
	at    time.Time
	rows  int64
	since time.Duration // that the rate was learned over
	rate  float64       // rows/s

	batches int64
	moved   time.Time // when a batch was last seen, or batches became possible again
}

// note takes a new reading. A new phase starts over. The calendar is nil where the job has no windows.
func (p *pace) note(st job.Status, now time.Time, windows throttle.Calendar) {
	if p.phase == nil || st.Round != p.round {
		p.phase, p.round = throttle.NewPace(phaseForecast(st)), st.Round
	}
	allowed := 1.0
	if windows != nil {
		allowed, _ = windows.At(now)
	}
	if !st.State.Active() {
		allowed = 0 // a pause teaches nothing
	}
	p.phase.Note(now, st.Fraction, allowed)
	dt := now.Sub(p.at)
	if p.at.IsZero() || st.Rows < p.rows {
		dt = 0
	}
	if dt > 0 {
		age := min(p.since, rateTime)
		weight := max(min(1, dt.Seconds()/rateTime.Seconds()), dt.Seconds()/(dt+age).Seconds())
		p.rate += weight * (float64(st.Rows-p.rows)/dt.Seconds() - p.rate)
		p.since += dt
	}
	p.at, p.rows = now, st.Rows
	if p.moved.IsZero() || st.Batches != p.batches || !st.State.Active() {
		p.batches, p.moved = st.Batches, now
	}
}

// phaseForecast is what was forecast of the phase that the job is in, in seconds.
func phaseForecast(st job.Status) throttle.Interval {
	switch {
	case st.Forecast == nil:
		return throttle.Interval{}
	case st.Round == 0:
		return seconds(st.Forecast.Fill)
	case st.Round == 1:
		return seconds(st.Forecast.Proof)
	}
	return throttle.Interval{}
}

func seconds(t job.Times) throttle.Interval {
	return throttle.Interval{Low: t.Low.D().Seconds(), High: t.High.D().Seconds()}
}

// eta is how long the job still takes, or why that cannot be said. Most is what caps allow in rows/s, 0 for no cap: a cap that was
// set just now shows in no speed yet.
func (p *pace) eta(st job.Status, now time.Time, windows throttle.Calendar, most float64) *job.ETA {
	switch {
	case st.State.Ended():
		return nil
	case st.State != job.Planning && !st.State.Active():
		return &job.ETA{Note: strings.ReplaceAll(string(st.State), "_", " ")}
	}
	left, ok := p.phase.Left()
	if !ok {
		return &job.ETA{Note: p.silence(st, now, windows)}
	}
	left = atLeast(left, st, most)
	var notes []string
	switch {
	case st.State == job.Verifying:
		notes = append(notes, "if nothing must be repaired")
	case st.Forecast != nil:
		proof := seconds(st.Forecast.Proof)
		left.Low, left.High = left.Low+proof.Low, left.High+proof.High
		notes = append(notes, "verification included")
	default:
		notes = append(notes, "then verification")
	}
	if windows != nil {
		left = throttle.UntilDone(now, left, windows)
		if left.High == 0 {
			return &job.ETA{Note: "the windows do not let it end"}
		}
		if text := closed(now, windows); text != "" {
			notes = append([]string{text}, notes...)
		}
	}
	round := func(s float64) job.Duration {
		return job.Duration(time.Duration(s * float64(time.Second)).Round(time.Second))
	}
	return &job.ETA{Low: round(left.Low), High: max(round(left.High), job.Duration(time.Second)), Note: strings.Join(notes, "; ")}
}

// atLeast raises what is left to what the rows that are still to be written take under a cap; they are estimated from those so far.
func atLeast(left throttle.Interval, st job.Status, most float64) throttle.Interval {
	if most <= 0 || st.Round > 0 || st.Fraction <= 0 {
		return left
	}
	capped := float64(st.Rows) / st.Fraction * (1 - st.Fraction) / most
	return throttle.Interval{Low: max(left.Low, (1-capDoubt)*capped), High: max(left.High, (1+capDoubt)*capped)}
}

// silence says why there is no time to tell.
func (p *pace) silence(st job.Status, now time.Time, windows throttle.Calendar) string {
	if windows != nil {
		if text := closed(now, windows); text != "" {
			return text
		}
	}
	switch {
	case st.State == job.Planning:
		return "planning"
	case p.phase.Stands():
		return "no progress now"
	}
	return "not known yet"
}

// closed says when the windows open; empty while they are open.
func closed(now time.Time, windows throttle.Calendar) string {
	if rate, _ := windows.At(now); rate > 0 {
		return ""
	}
	next, ok := windows.NextOpening(now)
	if !ok {
		return "the windows never open"
	}
	d := next.Sub(now)
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return fmt.Sprintf("outside its windows, opens in %s", text)
}
