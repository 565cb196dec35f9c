package throttle

import (
	"math"
	"time"
)

const (
	paceFast  = 10 * time.Second // over which the present speed is averaged
	paceSlow  = 2 * time.Minute  // over which the usual one is
	paceTrust = 30 * time.Second // of progress, after which the forecast and a doubt count for half of what they did, or less
	paceTold  = 3 * time.Second  // of progress, before it says anything without a forecast
	paceStall = 5                // times below its usual speed: a phase that stands has no end to tell
	paceDoubt = 0.5              // how wide a first ETA is, in parts of it
	paceLeast = 0.05             // how wide the last one is
	paceNone  = 1e-6             // part of the full speed, below which windows are as good as closed
)

// Pace follows how much of one phase is done, and says how long the rest takes: from the phase's forecast at first, more and more
// from what it has seen. It is not safe for concurrent use.
type Pace struct {
	forecast Interval // seconds that the whole phase takes at full speed; High 0: there is none

	at       time.Time
	fraction float64
	fast     float64 // parts of the phase a second, at full speed
	slow     float64
	moving   time.Duration // that speeds were learned over
	idle     time.Duration // of that, since it last moved
}

// NewPace begins a phase that was forecast to take so many seconds at full speed; the zero interval where nothing was.
func NewPace(forecast Interval) *Pace { return &Pace{forecast: forecast} }

// Note takes a reading: at that time the fraction was done, and the windows allowed that part of the full speed since the last
// one. A time in which as good as nothing was allowed teaches nothing, nor does a fraction that fell because the plan grew.
func (p *Pace) Note(at time.Time, fraction, allowed float64) {
	dt := at.Sub(p.at)
	step := fraction - p.fraction
	first := p.at.IsZero()
	if !first && dt <= 0 {
		return
	}
	p.at, p.fraction = at, fraction
	if first || step < 0 || allowed < paceNone {
		return
	}
	speed := step / dt.Seconds() / allowed
	p.fast += weight(dt, p.moving, paceFast) * (speed - p.fast)
	p.slow += weight(dt, p.moving, paceSlow) * (speed - p.slow)
	p.moving += dt
	if p.idle += dt; step > 0 {
		p.idle = 0
	}
}

// weight is that of a new reading in a moving average, which is a plain average while it is young.
func weight(dt, age, over time.Duration) float64 {
	return math.Max(math.Min(1, dt.Seconds()/over.Seconds()), dt.Seconds()/(dt+min(age, over)).Seconds())
}

// Stands reports whether a phase that was watched for a while does not move, or hardly: no end can be told of it.
func (p *Pace) Stands() bool {
	return p.moving >= paceTold && (p.idle >= paceFast || p.fast <= p.slow/paceStall)
}

// Left is how many seconds of full speed the phase still needs. False where that cannot be said: it stands, or too little was seen
// and nothing forecast.
func (p *Pace) Left() (Interval, bool) {
	rest := 1 - p.fraction
	told := p.forecast.Times(Exactly(rest))
	switch {
	case p.moving < paceTold:
		return told, told.High > 0
	case p.Stands():
		return Interval{}, false
	}
	young := 1 / (1 + p.moving.Seconds()/paceTrust.Seconds())
	doubt := 1 + paceLeast + paceDoubt*young
	seen := Interval{rest / math.Max(p.fast, p.slow) / doubt, rest / math.Min(p.fast, p.slow) * doubt}
	if told.High <= 0 || rest <= 0 {
		return seen, true
	}
	// What was seen is always within; the forecast widens it, the less the longer it runs.
	trust := young * young
	toward := func(seen, told float64) float64 { return math.Pow(seen, 1-trust) * math.Pow(told, trust) }
	return Interval{toward(seen.Low, math.Min(seen.Low, told.Low)), toward(seen.High, math.Max(seen.High, told.High))}, true
}

// UntilDone turns seconds at full speed into the time from now on that they take under a calendar. High is 0 where that never lets it end.
func UntilDone(now time.Time, work Interval, c Calendar) Interval {
	var out Interval
	if at, ok := finish(c, now, work.Low); ok {
		out.Low = at.Sub(now).Seconds()
	}
	if at, ok := finish(c, now, work.High); ok {
		out.High = at.Sub(now).Seconds()
	}
	return out
}
