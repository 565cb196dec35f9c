package throttle

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// bench feeds a governor with samples of a primary that writes, and a standby that replays, at given rates.
type bench struct {
	g      *Governor
	s      Sample
	app    float64 // bytes per second that the application writes
	rows   float64 // rows per second that the fleet writes
	perRow float64 // bytes
	replay float64 // bytes per second at most
	delay  float64 // seconds until WAL arrives
	slot   float64 // rows per second of one slot at most; 0: without limit
	burst  float64 // how many times what it may the fleet writes; 0 is 1
	wal    trail
	done   trail // rows; the governor hears of them a little later
}

func newBench(r Rules) *bench {
	at := newFakeClock().t
	b := &bench{g: NewGovernor(r), app: 1e6, perRow: 500, replay: 20e6}
	b.s = Sample{
		At: at, ReadAt: at, WALPos: 1e9, RowsPerSlot: 8000, Slots: 16, Active: 4,
		Members: []Member{{Name: "standby1", State: "streaming", Pos: 1e9}},
	}
	return b
}

// run lets time pass and returns the last decision. The fleet does what each decision says.
func (b *bench) run(d time.Duration) Decision {
	const step = 100 * time.Millisecond
	var last Decision
	for end := b.s.At.Add(d); b.s.At.Before(end); {
		last = b.g.Step(b.s)
		b.rows = last.RowsPerSec
		if b.slot > 0 {
			slots := b.s.Slots
			if last.Slots > 0 {
				slots = min(slots, last.Slots)
			}
			b.rows = min(b.rows, float64(slots)*b.slot)
			b.s.Active = slots
		}
		if b.burst > 0 {
			b.rows *= b.burst
		}
		if last.Hold {
			b.rows = 0
		}
		b.s.At = b.s.At.Add(step)
		b.s.ReadAt = b.s.At
		b.done.add(b.s.At, b.done.value()+b.rows*step.Seconds(), time.Minute)
		b.s.Rows = b.done.at(b.s.At.Add(-300 * time.Millisecond))
		b.s.WALPos += (b.app + b.rows*b.perRow) * step.Seconds()
		b.wal.add(b.s.At, b.s.WALPos, time.Minute)
		for i := range b.s.Members {
			m := &b.s.Members[i]
			m.Pos = min(max(m.Pos, b.wal.at(b.s.At.Add(-toDuration(b.delay)))), m.Pos+b.replay*step.Seconds())
			m.Bytes = b.s.WALPos - m.Pos
			m.Lag = b.lag(m.Pos)
		}
	}
	return last
}

// lag is how long ago the primary was at pos.
func (b *bench) lag(pos float64) float64 {
	at := b.s.At
	for at.After(b.s.At.Add(-time.Minute)) && b.wal.at(at) > pos {
		at = at.Add(-10 * time.Millisecond)
	}
	return b.s.At.Sub(at).Seconds()
}

func TestGovernorUsesWhatTheReplicaReplays(t *testing.T) {
	b := newBench(Rules{})
	b.run(20 * time.Second)
	before := b.s.Rows
	d := b.run(30 * time.Second)
	require.InEpsilon(t, 19e6/500, (b.s.Rows-before)/30, 0.03, "20 MB/s less 1 MB/s of the application's")
	require.Less(t, b.s.Members[0].Lag, 0.5)
	require.Regexp(t, `^standby1 replays [12]\d(\.\d)? MB/s; less the application's [\d.]+ k?M?B/s of WAL that is \d+(\.\d)?k rows/s$`, d.Reasons[0].Text)
	require.Equal(t, "replay of standby1", d.Reasons[0].Signal)
}

func TestGovernorLearnsTheBaseDelayAtATrickle(t *testing.T) {
	b := newBench(Rules{})
	b.delay = 1.5
	d := b.run(200 * time.Millisecond)
	require.False(t, d.Hold)
	require.InDelta(t, trickleRows, d.RowsPerSec, 1e-9)
	require.Equal(t, 1, d.Slots)
	require.Equal(t, "the base delay of standby1 is learned for 3s, at 500 rows/s", d.Reasons[0].Text)

	b.run(30 * time.Second)
	require.InDelta(t, 1.5, b.g.replays.members["standby1"].base, 0.2)
	before := b.s.Rows
	b.run(20 * time.Second)
	require.Greater(t, (b.s.Rows-before)/20, 0.85*19e6/500, "a far replica is no reason to be slow")
}

func TestGovernorHoldsWhenReplayStallsAndRecoversAtOnce(t *testing.T) {
	b := newBench(Rules{})
	b.run(20 * time.Second)
	b.replay = 0
	d := b.run(1500 * time.Millisecond)
	require.True(t, d.Hold)
	require.Regexp(t, `^(lag of standby1|backlog of standby1)$`, d.Reasons[0].Signal)
	d = b.run(20 * time.Second)
	require.True(t, d.Hold)
	require.Regexp(t, `^lag of standby1 2\d\.\ds over hard limit 10s$`, d.Reasons[0].Text)
	require.True(t, d.Reasons[0].Hard)

	b.replay = 20e6
	b.run(5 * time.Second)
	before := b.s.Rows
	b.run(5 * time.Second)
	require.Greater(t, (b.s.Rows-before)/5, 0.8*19e6/500, "the capacity before the stall is remembered")
}

func TestGovernorSeesABacklogBeforeItIsALag(t *testing.T) {
	b := newBench(Rules{})
	b.run(20 * time.Second)
	b.replay = 3e6
	for range 20 {
		if d := b.run(100 * time.Millisecond); d.Hold {
			require.Equal(t, "backlog of standby1", d.Reasons[0].Signal)
			require.Regexp(t, `^standby1 has [\d.]+ MB to replay at [\d.]+ MB/s, which takes [\d.]+s, over 0.25s of target 1s`, d.Reasons[0].Text)
			return
		}
	}
	t.Fatal("no hold within 2 s")
}

func TestGovernorDoesNotTakeItsOwnQueueForDistance(t *testing.T) {
	b := newBench(Rules{})
	b.run(10 * time.Second)
	base := b.g.replays.members["standby1"].base
	b.run(10 * time.Minute)
	require.LessOrEqual(t, b.g.replays.members["standby1"].base, base)
}

func TestGovernorForgetsTheBaseDelayOnReconnect(t *testing.T) {
	b := newBench(Rules{})
	b.run(10 * time.Second)
	near := b.g.replays.members["standby1"].base
	b.s.Members[0].Missing, b.s.Members[0].Since = true, b.s.At
	require.True(t, b.run(time.Second).Hold)
	b.s.Members[0].Missing = false
	b.delay = 1
	b.run(20 * time.Second)
	require.Greater(t, b.g.replays.members["standby1"].base, near+0.5)
}

func TestGovernorWithoutReplicas(t *testing.T) {
	b := newBench(Rules{})
	b.s.Members = nil
	d := b.run(5 * time.Second)
	require.Equal(t, Decision{BatchScale: 1}, d, "no limit")

	b.g.SetRules(Rules{MaxRowsPerSec: 700})
	d = b.run(5 * time.Second)
	require.InDelta(t, 700, d.RowsPerSec, 1e-9)
	require.Equal(t, "capped at 700 rows/s, as max_rows_per_second of the database", d.Reasons[0].Text)
}

func TestGovernorCapsTheWAL(t *testing.T) {
	b := newBench(Rules{MaxWALPerSec: 2e6})
	b.s.Members = nil
	b.perRow = 1300
	b.run(20 * time.Second)
	rows := b.s.Rows
	d := b.run(20 * time.Second)
	require.LessOrEqual(t, (b.s.Rows-rows)/20*1300, 2.1e6, "bytes per second")
	require.GreaterOrEqual(t, (b.s.Rows-rows)/20*1300, 1.2e6, "it is careful as long as it has to guess")
	require.Regexp(t, `^capped at 2 MB/s of WAL, as max_wal_bytes_per_second of the database, which is [\d.]+k? rows/s at [\d.]+ kB a row$`, d.Reasons[0].Text)

	b.s.WALPerRow = 1300
	b.run(time.Second)
	d = b.run(time.Second)
	require.InEpsilon(t, 2e6/1300, d.RowsPerSec, 1e-6, "a measured row is believed")
}

func TestGovernorSlowsForASignal(t *testing.T) {
	b := newBench(Rules{Signals: map[string]Rule{"archive_queue": Defaults()["archive_queue"]}})
	b.s.WALPerRow = b.perRow
	b.run(20 * time.Second)
	before := b.s.Rows
	b.run(20 * time.Second)
	free := b.s.Rows - before
	b.s.Signals = []Reading{{Signal: "archive_queue", Value: 25, At: b.s.At}}
	before = b.s.Rows
	d := b.run(20 * time.Second)
	require.InDelta(t, 0.5, (b.s.Rows-before)/free, 0.15, "half of a rate that may fill the queue again")
	require.Equal(t, "archive_queue", d.Reasons[0].Signal)
	require.Equal(t, 8, d.Slots, "half of 16")

	b.s.Signals[0] = Reading{Signal: "archive_queue", Value: 50, At: b.s.At}
	d = b.run(100 * time.Millisecond)
	require.True(t, d.Hold)
	require.True(t, d.Reasons[0].Hard)
}

func TestGovernorSlowsForASignalWithoutReplicas(t *testing.T) {
	b := newBench(Rules{Signals: map[string]Rule{"archive_queue": Defaults()["archive_queue"]}})
	b.s.Members = nil
	b.run(time.Second)
	b.s.Signals = []Reading{{Signal: "archive_queue", Value: 25, At: b.s.At}}
	d := b.run(100 * time.Millisecond)
	require.Equal(t, 8, d.Slots)
	require.InDelta(t, 0.5*16*8000, d.RowsPerSec, 1e-6)
}

func TestGovernorTakesSlotsWhenTheForegroundSuffers(t *testing.T) {
	b := newBench(Rules{Signals: map[string]Rule{SignalProbe: Defaults()[SignalProbe]}})
	b.s.Members = nil
	probe := func(v float64, d time.Duration) Decision {
		b.s.Signals = []Reading{{Signal: SignalProbe, Value: v, At: b.s.At}}
		return b.run(d)
	}
	d := probe(1, 500*time.Millisecond)
	require.Equal(t, guardStart+1, d.Slots)
	b.s.Active = 16
	grown := probe(1, 16*time.Second).Slots
	require.Greater(t, grown, 12)
	cut := probe(1.6, 3*time.Second)
	require.Less(t, cut.Slots, grown*2/3)
	require.Equal(t, SignalProbe, cut.Reasons[0].Signal)
	require.InDelta(t, foregroundTime, cut.BatchScale, 1e-9)
	stays := probe(1.2, 5*time.Second).Slots
	require.Equal(t, stays, probe(1.2, 5*time.Second).Slots, "neither well nor ill")
	again := probe(1, 15*time.Second).Slots
	require.Greater(t, again, stays)
	require.Less(t, again, grown, "what was too many is not tried again so soon")
	require.Greater(t, probe(1, 40*time.Second).Slots, again, "but it is tried again")
}

func TestGovernorTakesHalfOfTheCoresBesideAnApplication(t *testing.T) {
	b := newBench(Rules{Signals: map[string]Rule{SignalForeground: Defaults()[SignalForeground]}})
	b.s.Members = nil
	working := func(sessions float64, cores int) Decision {
		b.s.Cores = cores
		b.s.Signals = []Reading{{Signal: SignalForeground, Value: sessions, At: b.s.At}}
		return b.run(time.Second)
	}
	require.Zero(t, working(1, 8).Slots, "nobody is there but a psql")
	d := working(5, 8)
	require.Equal(t, 4, d.Slots)
	require.InDelta(t, foregroundTime, d.BatchScale, 1e-9)
	require.InDelta(t, 0.8*4*8000, d.RowsPerSec, 1e-6, "and four fifths of what they could do")
	require.Equal(t, "slots", d.Reasons[1].Signal)
	require.Equal(t, 1, working(5, 1).Slots)
	b.s.Waiting = 2
	d = working(5, 2)
	require.Equal(t, 3, d.Slots, "one that waits for a lock must not stop the others")
	require.InDelta(t, 0.8*3*8000, d.RowsPerSec, 1e-6, "of which a third is for the one that works")
	b.s.Waiting = 0
	require.Equal(t, 3, working(5, 2).Slots, "it may wait again at the next try")
	working(5, 2)
	b.run(waitsFor)
	require.Equal(t, 1, working(5, 2).Slots)
	require.Equal(t, 13, working(5, 0).Slots, "where nobody knows the cores: four fifths of the 16 slots, and the probe")
}

func TestAProbeThatGoesBlindFreesNoSlotsForAMinute(t *testing.T) {
	b := newBench(Rules{Signals: map[string]Rule{SignalProbe: Defaults()[SignalProbe]}})
	b.s.Members, b.s.Active = nil, 16
	b.s.Signals = []Reading{{Signal: SignalProbe, Value: 1.6, At: b.s.At}}
	few := b.run(10 * time.Second).Slots
	require.Equal(t, 1, few)
	b.s.Signals[0].Err = errors.New("connect the foreground probe: too many clients")
	require.Equal(t, few, b.run(50*time.Second).Slots, "as long as its last value holds")
	require.Zero(t, b.run(15*time.Second).Slots, "it is advice, and not known any more")
}

// Nothing is learned of a row while none is written, but neither is everything forgotten over a night.
func TestAWALCapStandsAfterANightWithoutRows(t *testing.T) {
	b := newBench(Rules{MaxWALPerSec: 5e6})
	b.run(30 * time.Second)
	before := b.g.WALPerRow()
	b.g.rules.MaxRowsPerSec = 1e-9
	b.run(2 * time.Hour)
	require.Less(t, b.g.WALPerRow(), 4*before)
	b.g.rules.MaxRowsPerSec = 0
	b.run(2 * time.Second)
	require.Less(t, b.g.flow.perRow, 1000.0)
	require.Greater(t, b.g.flow.perRow, 250.0)
}

func TestGovernorLoops(t *testing.T) {
	inner := newBench(Rules{Loops: InnerOnly})
	require.Zero(t, inner.run(time.Second).RowsPerSec)
	outer := newBench(Rules{Loops: OuterOnly})
	outer.s.Members[0].Lag = 3
	require.False(t, outer.g.Step(outer.s).Hold)
}

func TestGovernorIgnoresWhatShallBeIgnored(t *testing.T) {
	b := newBench(Rules{})
	b.s.Members[0].Policy = PolicyIgnore
	b.replay = 0
	d := b.run(10 * time.Second)
	require.Equal(t, Decision{BatchScale: 1}, d)
}

// drawSample changes a sample in any way that readers could, and some that they could not.
func drawSample(t *rapid.T, s *Sample) {
	s.At = s.At.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
	if rapid.IntRange(0, 5).Draw(t, "read") > 0 {
		s.ReadAt, s.Err = s.At, nil
	} else {
		s.Err = errors.New("timeout")
	}
	odd := []float64{0, 1, 500, 1e6, 1e12, math.NaN(), math.Inf(1), -1}
	s.WALPos += rapid.Float64Range(-1e6, 1e8).Draw(t, "wal")
	s.Rows += rapid.Float64Range(0, 1e6).Draw(t, "rows")
	s.WALPerRow = rapid.SampledFrom(odd).Draw(t, "wal per row")
	s.RowsPerSlot = rapid.SampledFrom(odd).Draw(t, "rows per slot")
	s.Slots, s.Active = rapid.IntRange(0, 70).Draw(t, "slots"), rapid.IntRange(0, 70).Draw(t, "active")
	s.Members = nil
	for i := range rapid.IntRange(0, 3).Draw(t, "members") {
		s.Members = append(s.Members, Member{
			Name:    fmt.Sprintf("m%d", i),
			Pos:     s.WALPos - rapid.Float64Range(-10, 1e8).Draw(t, "behind"),
			Lag:     rapid.SampledFrom([]float64{0, 0, 0.1, 0.3, 0.7, 4, 11, math.NaN()}).Draw(t, "lag"),
			State:   rapid.SampledFrom([]string{"streaming", "streaming", "streaming", "catchup", ""}).Draw(t, "state"),
			Policy:  rapid.SampledFrom([]Policy{"", PolicyHold, PolicyIgnore}).Draw(t, "policy"),
			Missing: rapid.IntRange(0, 9).Draw(t, "missing") == 0,
			Paused:  rapid.IntRange(0, 9).Draw(t, "paused") == 0,
		})
	}
	s.Signals = []Reading{
		{Signal: SignalProbe, Value: rapid.SampledFrom([]float64{0.9, 1, 1.4, 2, 6, math.NaN()}).Draw(t, "probe"), At: s.At},
		{Signal: "archive_queue", Value: rapid.SampledFrom([]float64{0, 15, 25, 45}).Draw(t, "queue"), At: s.At},
	}
}

func TestGovernorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{
			Signals:       Defaults(),
			MaxRowsPerSec: rapid.SampledFrom([]float64{0, 0, 100, 1e5}).Draw(t, "max rows"),
			MaxWALPerSec:  rapid.SampledFrom([]float64{0, 0, 1e5, 1e8}).Draw(t, "max wal"),
			Loops:         rapid.SampledFrom([]Loops{Both, Both, InnerOnly, OuterOnly}).Draw(t, "loops"),
		}
		g, twin := NewGovernor(rules), NewGovernor(rules)
		at := newFakeClock().t
		s := Sample{At: at, ReadAt: at, WALPos: 1e9}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			drawSample(t, &s)
			d := g.Step(s)
			require.Equal(t, d, twin.Step(s), "equal samples make equal decisions")

			require.False(t, math.IsNaN(d.RowsPerSec) || math.IsInf(d.RowsPerSec, 0), "%+v", d)
			require.GreaterOrEqual(t, d.RowsPerSec, 0.0)
			require.GreaterOrEqual(t, d.Slots, 0)
			require.Greater(t, d.BatchScale, 0.0)
			require.LessOrEqual(t, d.BatchScale, 1.0)
			if rules.MaxRowsPerSec > 0 && !d.Hold {
				require.Positive(t, d.RowsPerSec, "0 would be no limit")
				require.LessOrEqual(t, d.RowsPerSec, rules.MaxRowsPerSec)
			}
			for _, r := range d.Reasons {
				require.NotEmpty(t, r.Text)
				if r.Hard {
					require.True(t, d.Hold, "a hard reason stops: %s", r.Text)
				}
			}
			if d.Hold {
				require.NotEmpty(t, d.Reasons)
			}
			if must := blindOrBehind(s); must != "" && rules.Loops != OuterOnly {
				require.True(t, d.Hold, must)
			}
			leased(t, d, s)
		}
	})
}

// blindOrBehind says why a sample must hold the fleet; empty if it need not.
func blindOrBehind(s Sample) string {
	if s.At.Sub(s.ReadAt) > DefaultLagGrace {
		return "blind"
	}
	for _, m := range s.Members {
		switch {
		case m.Policy == PolicyIgnore:
		case m.Missing:
			return "missing"
		case m.State == "":
			return "hidden"
		case m.Lag > baseCap+1:
			return "far behind"
		}
	}
	return ""
}

// leased requires that what is leased is within the decision.
func leased(t *rapid.T, d Decision, s Sample) {
	slots := slotsOf(max(1, s.Slots), 1)
	supply := Supply{Rate: d.RowsPerSec, Slots: slots, Most: d.Slots, RowsPerSlot: s.RowsPerSlot}
	grants := Allocate(supply, []Demand{{Job: "a", Runnable: 100}, {Job: "b", Runnable: 3, Weight: 2}})
	sum := 0.0
	for _, g := range grants {
		sum += g.Rate
	}
	if d.RowsPerSec > 0 {
		require.LessOrEqual(t, sum, d.RowsPerSec*(1+1e-9))
	}
	if d.Slots > 0 {
		require.LessOrEqual(t, len(grants), d.Slots)
	}
}

// Whoever shows the reason must have a number to show.
func TestAReplicaThatNeverReplayedAnythingHoldsInNumbers(t *testing.T) {
	b := newBench(Rules{Lag: LagConfig{Target: 10 * time.Second}})
	b.wal.add(b.s.At, b.s.WALPos, time.Minute)
	b.replay = 0
	d := b.run(2200 * time.Millisecond)
	require.True(t, d.Hold)
	require.Equal(t, "backlog of standby1", d.Reasons[0].Signal)
	require.InDelta(t, 3600, d.Reasons[0].Observed, 1)
}

// Rows with heavy triggers: a lone slot does not even reach the trickle, and so must not be all that tests what a replica can do.
func TestSlowRowsDoNotStayWithOneSlot(t *testing.T) {
	for _, slot := range []float64{5, 40, 200} {
		b := newBench(Rules{})
		b.app, b.perRow, b.slot, b.s.RowsPerSlot = 0, 2000, slot, slot
		b.run(30 * time.Second)
		before := b.s.Rows
		d := b.run(10 * time.Second)
		require.Greater(t, (b.s.Rows-before)/10, 0.9*16*slot, "all 16 slots work at %v rows/s each: %v", slot, d)
	}
}

// A cap that is below what the fleet could write must not creep away. The rate follows from the estimate of a row's WAL, so what is
// booked on the application by mistake raises the rate, and with it the WAL. Rows and WAL are read as they come: in batches, in
// words of workers four times a second, and in what the server has written out, so neither tells the time of the other.
func TestGovernorKeepsTheWALCapThroughCoarseCounts(t *testing.T) {
	const most, slots = 200e3, 2
	for _, app := range []float64{0, 1e3, 50e3, 1e6} {
		for seed := range uint64(4) {
			random := rand.New(rand.NewPCG(seed, 0))
			b := newBench(Rules{MaxRowsPerSec: 500})
			b.s.Members = nil
			perRow, rows, wal, owed, due, told := 300.0, 0.0, 1e9, [slots]float64{}, [slots]float64{}, 0.0
			tick := func() {
				d := b.g.Step(b.s)
				b.s.At = b.s.At.Add(100 * time.Millisecond)
				for i := range slots {
					owed[i] += min(d.RowsPerSec, 20e3) / slots / 10
					if due[i] -= 0.1; due[i] <= 0 { // a batch
						rows, wal, owed[i] = rows+owed[i], wal+owed[i]*perRow, 0
						due[i] = 0.15 + 0.2*random.Float64()
					}
				}
				wal += app / 10
				if told -= 0.1; told <= 0 {
					b.s.Rows, told = rows, 0.25
				}
				if random.IntN(2) == 0 {
					b.s.WALPos = math.Floor(wal/8192) * 8192
				}
				b.s.ReadAt = b.s.At
			}
			wait := func(seconds int) float64 {
				before := rows
				for range seconds * 10 {
					tick()
				}
				return (rows - before) / float64(seconds) * perRow
			}
			wait(180)
			b.g.SetRules(Rules{MaxWALPerSec: most})
			for minute := range 5 {
				perRow = 300 + 50*float64(minute) // a checkpoint began: whole pages
				wait(20)
				got := wait(40)
				require.LessOrEqual(t, got, 1.05*most, "application %g, seed %d, minute %d", app, seed, minute)
				require.GreaterOrEqual(t, got, 0.3*most, "application %g, seed %d, minute %d", app, seed, minute)
			}
		}
	}
}
