package throttle

import (
	"math"
	"time"
)

// Defaults of [SizerConfig].
const (
	DefaultBatchTarget = 25 * time.Millisecond
	DefaultBatchStart  = 200
	DefaultBatchMin    = 10
	DefaultBatchMax    = 10000
)

const (
	sizerGrowth    = 1.5              // the most a size grows from one batch to the next
	sizerOutlier   = 4                // times the mean cost: one such batch alone is not believed
	sizerOverrun   = 3                // times the target: an outlier of this length halves the size at once
	sizerCautious  = 3                // batches without growth after trouble
	sizerShortest  = time.Microsecond // no batch is shorter; a clock may say zero
	sizerGain      = 0.3              // of a new cost in the mean
	sizerGainWorse = 0.5              // of a new cost far above the mean: shrink faster than grow
)

// SizerConfig bounds a [Sizer]. A zero field takes its default.
type SizerConfig struct {
	Target time.Duration // how long a batch should take, SQL time only
	Min    int           // rows; not less, however dear a row is, unless such a batch was rolled back for its length
	Max    int           // rows; never more, however cheap a row is
	Start  int           // rows of the first batch
}

// Sizer finds the batch size, in rows, that takes the target time. It learns the cost of one row, with its deviation, so
// that a batch which was cut short by a limit or by the end of its range teaches no wrong size.
//
// It aims at the target for the mean plus one deviation; it does not bound a single batch: statement_timeout does. It is
// not safe for concurrent use: one slot owns one Sizer.
type Sizer struct {
	cfg      SizerConfig
	size     float64 // rows; kept as a fraction, so that small sizes can grow
	mean     float64 // seconds a row; 0 before the first batch
	dev      float64 // mean absolute deviation of the cost
	doubted  bool    // the last batch was an outlier that was not learned
	cautious int     // batches that may not grow the size
	floor    float64 // rows: Min, or less after trouble
}

// NewSizer returns a sizer that has seen no batch.
func NewSizer(cfg SizerConfig) *Sizer {
	s := &Sizer{}
	s.cfg = SizerConfig{
		Target: positive(cfg.Target, DefaultBatchTarget),
		Min:    positive(cfg.Min, DefaultBatchMin),
		Max:    positive(cfg.Max, DefaultBatchMax),
	}
	s.cfg.Min = min(s.cfg.Min, s.cfg.Max)
	s.floor = float64(s.cfg.Min)
	s.size = s.clamp(float64(positive(cfg.Start, DefaultBatchStart)))
	return s
}

// Next returns the rows that the next batch should walk: the learned size, but not more than limit. A limit below 1 yields 0.
func (s *Sizer) Next(limit int) int { return max(0, min(int(s.size), limit)) }

// Observe learns from a committed batch that walked rows keys in d of SQL time. Rows are the keys walked, not the rows
// written: a `where` that leaves out most rows makes the walk itself the cost. A batch over no keys teaches nothing.
func (s *Sizer) Observe(rows int, d time.Duration) {
	if rows <= 0 {
		return
	}
	d = max(d, sizerShortest)
	cost := d.Seconds() / float64(rows)

	if s.mean > 0 && cost > sizerOutlier*s.mean && !s.doubted {
		s.doubted = true
		if d > sizerOverrun*s.cfg.Target {
			s.size = s.clamp(s.size / 2)
		}
		return
	}
	s.doubted = false
	s.learn(cost, s.confidence(rows, d))
	s.resize(rows)
}

// Trouble tells of a batch that was rolled back for its length: a lock or statement timeout, or a deadlock. The size halves
// and does not grow for the next three batches. It may go below Min, to one row: where each row takes long, Min of them may never fit.
func (s *Sizer) Trouble() {
	s.floor = max(1, min(s.floor, s.size/2))
	s.size = s.clamp(s.size / 2)
	s.cautious = sizerCautious
}

// SetLimits changes the target and the largest size while the sizer is in use. Zero takes the default. A smaller target
// shrinks the very next batch; a larger one is grown into.
func (s *Sizer) SetLimits(target time.Duration, maxRows int) {
	s.cfg.Target = positive(target, DefaultBatchTarget)
	s.cfg.Max = positive(maxRows, DefaultBatchMax)
	s.cfg.Min = min(s.cfg.Min, s.cfg.Max)
	s.floor = min(s.floor, float64(s.cfg.Min))
	s.size = s.clamp(min(s.size, s.ideal()))
}

// confidence is how much of a cost is believed, 0 to 1. The fixed cost of a statement weighs more in a batch that was cut
// short, so such a batch counts by its length, unless it was slow even so.
func (s *Sizer) confidence(rows int, d time.Duration) float64 {
	if s.mean == 0 || d >= s.cfg.Target {
		return 1
	}
	return min(1, float64(rows)/s.size)
}

func (s *Sizer) learn(cost, confidence float64) {
	if s.mean == 0 {
		s.mean, s.dev = cost, cost/2
		return
	}
	gain := sizerGain
	if cost > sizerGrowth*s.mean {
		gain = sizerGainWorse
	}
	s.dev += sizerGain * confidence * (math.Abs(cost-s.mean) - s.dev)
	s.mean += gain * confidence * (cost - s.mean)
}

// resize moves the size to what the learned cost allows. It grows only from a batch that used most of the size: a size that
// was never tried proves nothing.
func (s *Sizer) resize(rows int) {
	most := s.size
	if s.cautious > 0 {
		s.cautious--
	} else if float64(rows) >= math.Floor(s.size)/2 {
		most *= sizerGrowth
	}
	s.size = s.clamp(min(s.ideal(), most))
	if s.size >= float64(s.cfg.Min) {
		s.floor = float64(s.cfg.Min)
	}
}

// ideal is the size that takes the target at the learned cost.
func (s *Sizer) ideal() float64 {
	if s.mean == 0 {
		return math.Inf(1)
	}
	return s.cfg.Target.Seconds() / (s.mean + s.dev)
}

func (s *Sizer) clamp(size float64) float64 {
	return min(max(size, s.floor), float64(s.cfg.Max))
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
