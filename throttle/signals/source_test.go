package signals_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// script is a source that answers what the test sends it.
type script struct {
	name    string
	idle    time.Duration
	answers chan throttle.Reading
	reads   atomic.Int64
	closed  atomic.Int64
	under   atomic.Int64
}

func newScript(name string, idle time.Duration) *script {
	return &script{name: name, idle: idle, answers: make(chan throttle.Reading)}
}

func (s *script) Name() string             { return s.name }
func (s *script) Every() time.Duration     { return time.Millisecond }
func (s *script) IdleEvery() time.Duration { return s.idle }
func (s *script) Close()                   { s.closed.Add(1) }

func (s *script) Read(ctx context.Context) []throttle.Reading {
	if s.under.Add(1) > 1 {
		panic("two readings at a time")
	}
	defer s.under.Add(-1)
	s.reads.Add(1)
	select {
	case r := <-s.answers:
		r.Signal = s.name
		return []throttle.Reading{r}
	case <-ctx.Done():
		return []throttle.Reading{{Signal: s.name, Err: ctx.Err()}}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, time.Millisecond, what)
}

func reading(s *signals.Sampler, name string) (throttle.Reading, bool) {
	for _, r := range s.Readings() {
		if r.Signal == name {
			return r, true
		}
	}
	return throttle.Reading{}, false
}

func TestSamplerKeepsTheLastGoodValue(t *testing.T) {
	a, hung := newScript("a", time.Millisecond), newScript("hung", time.Millisecond)
	s := signals.NewSampler(time.Now)
	s.Use(a, hung)
	run(t, s)
	began := time.Now()
	a.answers <- throttle.Reading{Value: 7, Detail: "x"}
	eventually(t, "the value", func() bool { _, ok := reading(s, "a"); return ok })
	r, _ := reading(s, "a")
	require.InDelta(t, 7, r.Value, 0)
	require.WithinRange(t, r.At, began.Add(-time.Second), time.Now(), "the sampler says when")

	a.answers <- throttle.Reading{Err: errors.New("down")}
	eventually(t, "the failure", func() bool { f, _ := reading(s, "a"); return f.Err != nil })
	failed, _ := reading(s, "a")
	require.InDelta(t, 7, failed.Value, 0)
	require.Equal(t, r.At, failed.At)
	require.Equal(t, "x", failed.Detail)

	a.answers <- throttle.Reading{Value: 8}
	eventually(t, "another value", func() bool { r, _ := reading(s, "a"); return r.Value == 8 && r.Err == nil })
	_, there := reading(s, "hung")
	require.False(t, there)

	costs := s.Cost()
	require.Len(t, costs, 2)
	require.Equal(t, "a", costs[0].Name)
	require.EqualValues(t, 3, costs[0].Reads)
	require.Positive(t, costs[0].Seconds)
}

func TestSamplerReadsLessWhileIdle(t *testing.T) {
	off, rare := newScript("off", 0), newScript("rare", time.Hour)
	s := signals.NewSampler(time.Now)
	s.Use(off, rare)
	run(t, s)
	rare.answers <- throttle.Reading{Value: 1}
	eventually(t, "the first reading", func() bool { _, ok := reading(s, "rare"); return ok })
	require.Zero(t, off.reads.Load(), "it is not read while no batch may run")

	s.SetBusy(true)
	rare.answers <- throttle.Reading{Value: 2} // at once, and not in an hour
	off.answers <- throttle.Reading{Value: 3}
	eventually(t, "the reading", func() bool { _, ok := reading(s, "off"); return ok })
	s.SetBusy(false)
	eventually(t, "what is not read is not known", func() bool {
		select {
		case off.answers <- throttle.Reading{Value: 4}: // one was under way
		default:
		}
		_, ok := reading(s, "off")
		return !ok
	})
	require.Positive(t, off.closed.Load(), "it keeps nothing open")
}

func TestSamplerFollowsItsSources(t *testing.T) {
	a, b := newScript("a", time.Millisecond), newScript("b", time.Millisecond)
	s := signals.NewSampler(time.Now)
	run(t, s)
	s.Use(a)
	a.answers <- throttle.Reading{Value: 1}
	eventually(t, "a", func() bool { _, ok := reading(s, "a"); return ok })
	s.Use(a, b)
	b.answers <- throttle.Reading{Value: 2}
	eventually(t, "both", func() bool { return len(s.Readings()) == 2 })
	s.Use(b)
	eventually(t, "b alone", func() bool { _, ok := reading(s, "a"); return !ok && len(s.Cost()) == 1 })
	require.EqualValues(t, 1, a.closed.Load())
	s.Use(a, b)
	a.answers <- throttle.Reading{Value: 3}
	eventually(t, "a again", func() bool { r, _ := reading(s, "a"); return r.Value == 3 })
}

// A reading that grows too old between two looks would be forgotten each time, and the rule's memory with it.
func TestAnIdleSourceIsReadBeforeItsValueIsForgotten(t *testing.T) {
	for _, source := range []signals.Idler{signals.NewDatabase(nil, time.Now), signals.NewSlots(nil, nil)} {
		require.LessOrEqual(t, source.IdleEvery(), 30*time.Second)
	}
}
