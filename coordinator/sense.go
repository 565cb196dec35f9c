package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

const (
	beatEvery   = 200 * time.Millisecond
	idleEvery   = time.Second // between looks at the replicas while no batch may run
	tablesEvery = 30 * time.Second
	learnAgain  = 10 * time.Minute // between two attempts of the probe
	checkConns  = 2
	drainTime   = 2 * time.Second // after the last sign of a batch
	learnMost   = 4 * time.Second // for the probe to learn what is usual; a leader that follows another waits for the fleet to drain
)

// sense reads what the governor decides on: the replicas with every look, and the slower signals beside it, each at its own pace.
type sense struct {
	*leadership
	ledger   *store.Leader
	pool     *pgxpool.Pool
	lag      *signals.Lag
	replicas *signals.Replicas
	sampler  *signals.Sampler
	probe    *signals.Probe
	server   *signals.Database
	builtin  []signals.Source
	checks   map[job.Check]signals.Source
	asking   *pgxpool.Pool // of the SQL checks; nil: there was none

	known    map[string]bool // replicas that the ledger remembers
	last     throttle.Sample
	looked   time.Time
	beat     time.Time
	tablesAt time.Time
	batches  time.Time // when batches ran last
	began    time.Time // when there was something to do

	lagReads, lagNanos atomic.Int64
}

func newSense(l *leadership, own *store.Leader, db Database) *sense {
	s := &sense{
		leadership: l, ledger: own, pool: db.Signals, known: map[string]bool{}, checks: map[job.Check]signals.Source{},
		lag:      signals.NewLag(db.Signals, time.Now, 0),
		replicas: signals.NewReplicas(time.Now, 0, db.Replicas...),
		sampler:  signals.NewSampler(time.Now),
		probe:    signals.NewProbe(signals.Dial(db.Signals), time.Now),
		server:   signals.NewDatabase(db.Signals, time.Now),
	}
	s.lag.Ask(s.replicas)
	s.builtin = []signals.Source{s.server, s.probe, signals.NewBlocked(db.Signals), signals.NewSlots(db.Signals, s.server.FreeBytes)}
	return s
}

// run reads until the term ends.
func (s *sense) run(ctx context.Context) {
	asking, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.meet(asking) {
			s.replicas.Run(asking)
		}
	}()
	s.sampler.Use(s.builtin...)
	s.sampler.Run(ctx)
	end()
	<-done
	s.probe.Close()
}

// meet learns who the primary is, for its replicas are told from others by that. Until then what the primary says of them has to do.
func (s *sense) meet(ctx context.Context) bool {
	for {
		try, cancel := context.WithTimeout(ctx, governTimeout)
		err := s.replicas.Meet(try, s.pool)
		cancel()
		if err == nil {
			return true
		}
		s.complain(ctx, "replicas not asked", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}

// close ends what outlives the readings. Nothing is read any more.
func (s *sense) close() {
	if s.asking != nil {
		s.asking.Close()
	}
}

// use says which jobs there are: what they ask for is read, beside the builtin signals, and all of it more often while busy.
func (s *sense) use(ctx context.Context, busy bool, active []job.Job, checks []job.Check) {
	s.sampler.SetBusy(busy)
	wanted := map[job.Check]signals.Source{}
	sources := slices.Clone(s.builtin)
	changed := len(checks) != len(s.checks)
	for _, c := range checks {
		source, known := s.checks[c]
		if !known {
			changed = true
			var err error
			if source, err = s.source(c); err != nil { // submit has refused it; an older ledger may hold it. It fails closed
				s.complain(ctx, "check not usable", err, zap.String("check", c.Name))
				source = nil
			}
		}
		wanted[c] = source
		if source != nil {
			sources = append(sources, source)
		}
	}
	if changed {
		s.checks = wanted
		s.sampler.Use(sources...)
	}
	if len(active) > 0 && time.Since(s.tablesAt) > tablesEvery {
		s.tablesAt = time.Now()
		oids, err := s.ledger.Tables(ctx)
		if err != nil {
			s.complain(ctx, "tables of the jobs not read", err)
			return
		}
		s.server.SetTables(oids...)
	}
}

func (s *sense) source(c job.Check) (signals.Source, error) {
	switch {
	case c.SQL != "":
		if s.asking == nil { // what a person wrote may wait for a lock: it must not have the connections that the lag is read over
			config := s.pool.Config()
			config.MinConns, config.MaxConns = 0, checkConns
			var err error
			if s.asking, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
				return nil, fmt.Errorf("prepare connections for the SQL checks: %w", err)
			}
		}
		return signals.NewSQLCheck(c.Name, c.SQL, c.Every.D(), s.asking), nil
	case c.HTTP != "":
		return signals.NewHTTPCheck(c.Name, c.HTTP, c.Every.D())
	}
	return signals.NewPrometheusCheck(c.Name, c.Prometheus.URL, c.Prometheus.Query, c.Every.D())
}

// look reads the replicas, rarely while nothing runs, and returns all that is known now.
func (s *sense) look(ctx context.Context, busy bool) throttle.Sample {
	now := time.Now()
	if !busy && now.Sub(s.looked) < idleEvery {
		s.last.At = now
		s.last.Members = slices.Clone(s.last.Members) // others may still look at the ones of before
		return s.last
	}
	s.looked = now
	defer func() {
		s.lagReads.Add(1)
		s.lagNanos.Add(int64(time.Since(now)))
	}()
	if busy && now.Sub(s.beat) >= beatEvery {
		s.beat = now
		if err := s.lag.Beat(ctx); err != nil {
			s.log.Debug("heartbeat not written", zap.Error(err))
		}
	}
	s.last = s.lag.Read(ctx)
	s.last.Role = s.role()
	s.last.Signals = append(s.last.Signals, s.sampler.Readings()...)
	for _, m := range s.last.Members {
		if !s.known[m.Name] && !m.Missing {
			if err := s.ledger.RememberReplica(ctx, m.Name); err == nil {
				s.known[m.Name] = true
			}
		}
	}
	return s.last
}

// role is whom the fleet's sessions are, as SQL writes it.
func (s *sense) role() string { return pgx.Identifier{s.pool.Config().ConnConfig.User}.Sanitize() }

// costs is what reading took so far, the replicas with their heartbeat first.
func (s *sense) costs() []job.ReadCost {
	all := []job.ReadCost{{Source: "lag", Reads: s.lagReads.Load(), Seconds: time.Duration(s.lagNanos.Load()).Seconds()}}
	for _, c := range s.sampler.Cost() {
		all = append(all, job.ReadCost{Source: c.Name, Reads: c.Reads, Seconds: c.Seconds})
	}
	return all
}

// quiet tells the probe whether batches run, so that it knows what is usual without them. Those of before may take a while to end.
func (s *sense) quiet(batches bool) {
	now := time.Now()
	if batches {
		s.batches = now
	}
	s.probe.SetBatches(now.Sub(s.batches) < drainTime)
}

// learning says that batches must wait for a moment: while they run, it cannot be learned what they add. In a run without a pause
// that is so every quarter of an hour.
func (s *sense) learning(active []job.Job) []throttle.Reason {
	now := time.Now()
	switch {
	case len(active) == 0:
		s.began = time.Time{}
	case s.began.IsZero():
		s.began = now
		if slices.ContainsFunc(active, func(j job.Job) bool { return now.Sub(j.Started) > learnMost }) {
			s.batches = now // of a leader before this one, perhaps
		}
	case !s.probe.Knows() && now.Sub(s.began) > learnAgain:
		s.began = now
	}
	if len(active) == 0 || s.probe.Knows() || now.Sub(s.began) > learnMost {
		return nil
	}
	return []throttle.Reason{{Signal: throttle.SignalProbe, Text: "the foreground probe learns what is usual without batches"}}
}

// expect has the replicas waited for that were there before.
func (s *sense) expect(names []string) {
	s.lag.Expect(names...)
	for _, name := range names {
		s.known[name] = true
	}
}
