package throttle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Pressure turns the readings of signals into one factor of the rate, by rules.
//
// Of several soft signals the one with the smallest factor counts, and not their product: one overload shows in many signals at
// once (the probe, the active backends, the I/O), and must not be paid for several times.
//
// It remembers since when a value stands, so one Pressure serves one database. Time comes from the readings and the caller. It is
// not safe for concurrent use; the zero value is ready.
type Pressure struct {
	signals map[string]*pressed
}

// pressed is what is remembered of one signal.
type pressed struct {
	since      time.Time // when its rule was first applied
	last       Reading   // the last good one; At is zero where there was none
	soft, hard level
}

// Step applies the rules to the last readings, one of each signal; of several with the same name the worst counts. A reading
// without a rule is ignored. A rule without a reading counts as blind if it is closed, and else as a signal that this server does
// not have.
//
// Factor is in [0, 1] and is 0 where hard is true; batchScale is in (0, 1]. Reasons are in the order of their weight; those of blind
// signals that have no effect stand last. Observed is in the rule's unit, or the seconds since the last reading of a blind one.
func (p *Pressure) Step(at time.Time, rules map[string]Rule, readings []Reading) (factor float64, hard bool, batchScale float64, reasons []Reason) {
	if p.signals == nil {
		p.signals = map[string]*pressed{}
	}
	for name := range p.signals {
		if _, ok := rules[name]; !ok {
			delete(p.signals, name)
		}
	}
	worst := worstReadings(rules, readings)
	factor, batchScale = 1, 1
	weight := map[string]float64{} // what each reason leaves of the rate
	for name, rule := range rules {
		reading, there := worst[name]
		reason, effect := p.judge(at, name, rule, reading, there)
		if reason.Text == "" {
			continue
		}
		reasons = append(reasons, reason)
		weight[name] = effect
		factor, hard = min(factor, effect), hard || reason.Hard
		if !reason.Blind && rule.BatchScale > 0 {
			batchScale = min(batchScale, rule.BatchScale)
		}
	}
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(compareBool(idle(a), idle(b)), -compareBool(a.Hard, b.Hard), cmp.Compare(weight[a.Signal], weight[b.Signal]),
			-cmp.Compare(beyond(a, rules), beyond(b, rules)), cmp.Compare(a.Signal, b.Signal))
	})
	return factor, hard, batchScale, reasons
}

// idle reports a reason that tells of a signal without any effect on the fleet.
func idle(r Reason) bool { return r.Blind && !r.Hard }

// beyond is how far a reason's value is over its threshold, in thresholds.
func beyond(r Reason, rules map[string]Rule) float64 {
	if r.Threshold == 0 {
		return 0
	}
	over := (r.Observed - r.Threshold) / math.Abs(r.Threshold)
	if rules[r.Signal].Below && !r.Blind {
		return -over
	}
	return over
}

func worstReadings(rules map[string]Rule, readings []Reading) map[string]Reading {
	worst := map[string]Reading{}
	for _, r := range readings {
		if math.IsNaN(r.Value) && r.Err == nil {
			r.Err = fmt.Errorf("read %s: the value is not a number", r.Signal)
			r.At = time.Time{}
		}
		have, ok := worst[r.Signal]
		below := rules[r.Signal].Below
		if !ok || !r.At.IsZero() && (have.At.IsZero() || below && r.Value < have.Value || !below && r.Value > have.Value) {
			worst[r.Signal] = r
		}
	}
	return worst
}

// judge applies one rule. Effect is what the reason leaves of the rate; a reason without a text is none.
func (p *Pressure) judge(at time.Time, name string, rule Rule, r Reading, there bool) (reason Reason, effect float64) {
	s := p.signals[name]
	if s == nil {
		s = &pressed{since: at}
		p.signals[name] = s
	}
	if !there && !rule.Closed {
		delete(p.signals, name)
		return Reason{}, 1
	}
	if there && r.At.After(s.last.At) {
		s.last = r
	}
	if reason := s.blind(at, name, rule, r.Err); reason.Text != "" {
		if !rule.Closed {
			s.last, s.soft, s.hard = Reading{}, level{}, level{}
			return reason, 1
		}
		return reason, 0
	}
	if s.last.At.IsZero() {
		return Reason{}, 1
	}
	hard := s.hard.step(s.last, rule.Hard, rule.HardFor, rule)
	soft := s.soft.step(s.last, rule.Soft, rule.SoftFor, rule)
	switch {
	case hard:
		return s.reason(name, rule, rule.Hard, true), 0
	case soft && rule.Factor == 0:
		return s.reason(name, rule, rule.Soft, false), defaultFactor
	case soft:
		return s.reason(name, rule, rule.Soft, false), rule.Factor
	}
	return Reason{}, 1
}

// blind says that a signal has not been read for longer than its rule allows.
func (s *pressed) blind(at time.Time, name string, rule Rule, err error) Reason {
	allowed := rule.Blind
	switch {
	case allowed > 0:
	case rule.Closed:
		allowed = blindClosed
	default:
		allowed = blindAdvisory
	}
	never := s.last.At.IsZero()
	read := s.last.At
	if never {
		read = s.since
		if rule.Closed { // Blind allows for answers that are rare; the first one is asked for at once
			allowed = min(allowed, blindClosed)
		}
	}
	age := at.Sub(read)
	// One that was never read has no value to keep for a while: a closed one stops the fleet until its first answer, any other is
	// blind with its first error.
	if !(never && (rule.Closed || err != nil)) && age <= allowed {
		return Reason{}
	}
	reason := Reason{Signal: name, Observed: max(0, age.Seconds()), Threshold: allowed.Seconds(), Hard: rule.Closed, Blind: true}
	if never {
		reason.Text = fmt.Sprintf("%s has not been read yet", title(name, rule))
	} else {
		reason.Text = fmt.Sprintf("%s was last read %s ago, over %s", title(name, rule), seconds(age.Seconds()), allowed)
	}
	if err != nil {
		reason.Text += ": " + err.Error()
	}
	return reason
}

func (s *pressed) reason(name string, rule Rule, threshold float64, hard bool) Reason {
	kind := "soft"
	if hard {
		kind = "hard"
	}
	r := Reason{Signal: name, Observed: s.last.Value, Threshold: threshold, Hard: hard}
	side := "over"
	if rule.Below {
		side = "under"
	}
	switch {
	case rule.Unit == UnitVerdict:
		r.Text = title(name, rule) + " says stop"
	case fires(s.last.Value, threshold, rule.Below) && s.last.Value == threshold:
		r.Text = fmt.Sprintf("%s %s at %s limit %s", title(name, rule), show(s.last.Value, rule.Unit), kind, show(threshold, rule.Unit))
	case fires(s.last.Value, threshold, rule.Below):
		r.Text = fmt.Sprintf("%s %s %s %s limit %s", title(name, rule), show(s.last.Value, rule.Unit), side, kind, show(threshold, rule.Unit))
	default:
		r.Text = fmt.Sprintf("%s %s settling after it was %s %s limit %s", title(name, rule), show(s.last.Value, rule.Unit), side, kind,
			show(threshold, rule.Unit))
	}
	if s.last.Detail != "" {
		r.Text += " (" + s.last.Detail + ")"
	}
	return r
}

func title(name string, rule Rule) string { return cmp.Or(rule.Text, name) }

// show writes a value for a person.
func show(v float64, unit string) string {
	number := strconv.FormatFloat(v, 'f', -1, 64)
	if v != math.Trunc(v) {
		number = strconv.FormatFloat(v, 'g', 3, 64)
	}
	switch unit {
	case UnitSeconds:
		return seconds(v)
	case UnitShare:
		return strconv.FormatFloat(100*v, 'f', 1, 64) + "%"
	case "":
		return number
	}
	return number + " " + unit
}

// level is one threshold's memory.
type level struct {
	on    bool
	since time.Time // not on: since when the value stands at the threshold; zero: it does not
	calm  time.Time // on: since when it stands inside the margin; zero: it does not
	at    float64   // the threshold that it was over
}

// step takes the last good reading and reports whether the level is on. The same reading twice changes nothing.
func (l *level) step(r Reading, threshold float64, stand time.Duration, rule Rule) bool {
	switch over := fires(r.Value, threshold, rule.Below); {
	case math.IsNaN(threshold):
		*l = level{}
	case over && l.on:
		l.calm, l.at = time.Time{}, threshold
	case over:
		if l.since.IsZero() {
			l.since = r.At
		}
		l.on, l.at = r.At.Sub(l.since) >= stand, threshold
	case !l.on, !rule.Hysteresis, threshold != l.at: // a person who moves a threshold is obeyed at once
		*l = level{}
	case fires(r.Value, resume(threshold, rule.Below), rule.Below) && r.Value != resume(threshold, rule.Below):
		l.calm = time.Time{}
	default:
		if l.calm.IsZero() {
			l.calm = r.At
		}
		if r.At.Sub(l.calm) >= resumeHeld {
			*l = level{}
		}
	}
	return l.on
}

// fires reports a value at or beyond a threshold; none is beyond NaN.
func fires(v, threshold float64, below bool) bool {
	if below {
		return v <= threshold
	}
	return v >= threshold
}

// resume is where hysteresis lets go.
func resume(threshold float64, below bool) float64 {
	margin := resumeMargin * math.Abs(threshold)
	if below {
		return threshold + margin
	}
	return threshold - margin
}
