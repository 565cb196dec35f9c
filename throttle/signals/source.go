package signals

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// Source reads one or more signals of one database. It decides nothing. Read is never called twice at a time.
type Source interface {
	// Name tells this source from the others of a sampler.
	Name() string
	// Every is the time between two readings while batches may run.
	Every() time.Duration
	// Read reads once. A reading that failed has Err set; the sampler adds the last good value to it. A signal that this server
	// does not have is left out. At may stay zero: the sampler sets it to the time at which Read began.
	Read(ctx context.Context) []throttle.Reading
}

// Idler is a source that is read at another interval while no batch may run. One that is no Idler keeps its interval.
type Idler interface {
	// IdleEvery is that interval; 0 is not at all.
	IdleEvery() time.Duration
}

// Closer is a source that keeps something open between readings. The sampler closes it when it stops reading it, for good or while
// no batch may run.
type Closer interface {
	Close()
}

// readTimeout bounds one reading. Sources with a promise of their own are stricter.
const readTimeout = 3 * time.Second

// Sampler reads sources, each at its own interval on its own goroutine, and keeps what they last said. One source that hangs
// delays no other. It is safe for concurrent use.
type Sampler struct {
	now     func() time.Time
	changed chan struct{} // sources or busy changed since Run looked; holds at most one

	mu      sync.Mutex
	busy    bool
	wake    chan struct{} // closed and replaced when busy changes
	wanted  []Source
	entries map[Source]*entry
}

// entry is what a sampler keeps of one source.
type entry struct {
	readings []throttle.Reading
	cost     SourceCost
}

// SourceCost is what reading a source took so far, as this process sees it: the time on the server and on the way to it.
type SourceCost struct {
	Name    string
	Reads   int64
	Seconds float64
}

// NewSampler returns a sampler of no sources that is not busy. The clock must be monotonic, as time.Now is.
func NewSampler(now func() time.Time) *Sampler {
	return &Sampler{now: now, changed: make(chan struct{}, 1), wake: make(chan struct{}), entries: map[Source]*entry{}}
}

// Use sets what is read from now on. A source that was in use before goes on with its readings; the readings of others are dropped.
// Sources are told apart by identity, so they must be comparable, as pointers are.
func (s *Sampler) Use(sources ...Source) {
	s.mu.Lock()
	s.wanted = slices.Clone(sources)
	s.mu.Unlock()
	s.tell()
}

// SetBusy says whether batches may run. When they begin to, every source is read at once.
func (s *Sampler) SetBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if busy != s.busy {
		s.busy = busy
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

func (s *Sampler) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run reads until ctx ends, and returns when no reading is under way any more. It must not run twice at a time.
func (s *Sampler) Run(ctx context.Context) {
	running := map[Source]func(){} // what ends a source, and waits until it has
	s.tell()
	for {
		select {
		case <-ctx.Done():
			for _, end := range running {
				end()
			}
			return
		case <-s.changed:
		}
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		for source, end := range running {
			if !slices.Contains(wanted, source) {
				end()
				delete(running, source)
			}
		}
		for _, source := range wanted {
			if running[source] == nil {
				running[source] = s.start(ctx, source)
			}
		}
	}
}

// start follows a source on its own goroutine, and returns what ends that.
func (s *Sampler) start(ctx context.Context, source Source) (end func()) {
	e := &entry{cost: SourceCost{Name: source.Name()}}
	s.mu.Lock()
	s.entries[source] = e
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.follow(ctx, source, e)
		leave(source)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.entries, source)
	}()
	return func() {
		cancel()
		<-done
	}
}

// follow reads one source until ctx ends.
func (s *Sampler) follow(ctx context.Context, source Source, e *entry) {
	for {
		every, wake := s.interval(source)
		began := s.now()
		if every > 0 {
			s.read(ctx, source, e)
		} else {
			leave(source)
			s.mu.Lock()
			e.readings = nil // what is not looked at any more must not pass for known
			s.mu.Unlock()
			every = time.Hour // a change wakes it
		}
		rest := time.NewTimer(max(every-s.now().Sub(began), every/10))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-rest.C:
		}
		rest.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func leave(source Source) {
	if c, ok := source.(Closer); ok {
		c.Close()
	}
}

// interval is how often a source is to be read now, and what is closed when that may have changed.
func (s *Sampler) interval(source Source) (time.Duration, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if idler, ok := source.(Idler); ok && !s.busy {
		return idler.IdleEvery(), s.wake
	}
	return source.Every(), s.wake
}

func (s *Sampler) read(ctx context.Context, source Source, e *entry) {
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	began := s.now()
	readings := source.Read(bounded)
	took := s.now().Sub(began)
	if ctx.Err() != nil {
		return // its error would be the end's, not the source's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.cost.Reads++
	e.cost.Seconds += took.Seconds()
	for i, r := range readings {
		switch last := slices.IndexFunc(e.readings, func(l throttle.Reading) bool { return l.Signal == r.Signal }); {
		case r.Err == nil && r.At.IsZero():
			readings[i].At = began
		case r.Err != nil && last >= 0:
			readings[i] = e.readings[last]
			readings[i].Err = r.Err
		}
	}
	e.readings = readings
}

// Readings returns what the sources last said, in no order.
func (s *Sampler) Readings() []throttle.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []throttle.Reading
	for _, e := range s.entries {
		all = append(all, e.readings...)
	}
	return all
}

// Cost returns what reading took so far, by source in the order of names. A source that is not in use any more is left out.
func (s *Sampler) Cost() []SourceCost {
	s.mu.Lock()
	defer s.mu.Unlock()
	var costs []SourceCost
	for _, e := range s.entries {
		costs = append(costs, e.cost)
	}
	slices.SortFunc(costs, func(a, b SourceCost) int { return cmp.Compare(a.Name, b.Name) })
	return costs
}
