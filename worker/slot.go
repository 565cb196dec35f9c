package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/throttle"
)

const (
	pullWait     = 5 * time.Second
	idlePause    = 250 * time.Millisecond // after a pull that failed
	claimTimeout = 15 * time.Second
	// concludeTimeout bounds the last word on a claim; without it the lease runs out, which says the same later.
	concludeTimeout = 5 * time.Second
	mostClaims      = 10 // of a range without one batch in between: whatever carries it dies
)

// slot carries one range at a time.
type slot struct {
	w       *Worker
	n       int
	limiter *throttle.Limiter
	sizer   *throttle.Sizer // of the last job and kind, so that a new range begins where the one before ended
	sized   sizing
	order   order

	mu      sync.Mutex
	holding *job.Held
}

// sizing is what a batch size was learned on.
type sizing struct {
	id     job.ID
	kind   job.Kind
	blocks bool
}

// sizerFor returns the slot's sizer if it has learned on this kind of work, else a new one.
func (s *slot) sizerFor(c job.Claim, limits job.Limits, counts bool) *throttle.Sizer {
	most := limits.Batch.MaxRows
	if counts {
		most = countMost
	}
	if on := (sizing{c.Ref.Job, c.Kind, counts}); s.sizer == nil || s.sized != on {
		s.sized = on
		s.sizer = throttle.NewSizer(throttle.SizerConfig{Target: limits.Batch.Target.D(), Max: most})
	}
	s.sizer.SetLimits(limits.Batch.Target.D(), most)
	return s.sizer
}

func (s *slot) held() (job.Held, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holding == nil {
		return job.Held{}, false
	}
	return *s.holding, true
}

// setWaits notes whether the slot's range waits for a lock, and says so at once: others may work meanwhile.
func (s *slot) setWaits(yes bool) {
	s.mu.Lock()
	changed := s.holding != nil && s.holding.Waits != yes
	if changed {
		held := *s.holding
		held.Waits = yes
		s.holding = &held
	}
	s.mu.Unlock()
	if changed {
		s.w.hello()
	}
}

func (s *slot) setHolding(h *job.Held) {
	s.mu.Lock()
	s.holding = h
	s.mu.Unlock()
}

// run serves leases until ctx ends.
func (s *slot) run(ctx context.Context) {
	for ctx.Err() == nil {
		d, lease, wait := s.lease()
		if d == nil {
			select {
			case <-ctx.Done():
			case <-wait:
			case <-time.After(helloEvery):
			}
			continue
		}
		s.serve(ctx, d, lease)
		if l, ok := d.lease(s.n); ok && l.Over {
			s.w.hello() // another slot waits for this lease
		}
	}
}

// lease finds a database on which this slot has one. Without any it returns a channel that closes when something changes on one of them.
func (s *slot) lease() (*desk, job.Lease, <-chan struct{}) {
	wait := s.w.changes()
	for _, d := range s.w.desks {
		if l, ok := d.lease(s.n); ok && !l.Over && d.isReachable() && d.gate.Fresh(s.w.cfg.Now()) {
			return d, l, nil
		}
	}
	return nil, job.Lease{}, wait
}

// serve pulls one range of the lease's job and carries it.
func (s *slot) serve(ctx context.Context, d *desk, lease job.Lease) {
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	s.limiter.SetRate(lease.Rate)
	watch.Go(func() { s.watchLease(stop, cancel, d, lease.Job) })

	delivery, err := s.w.cfg.Queue.Pull(stop, d.db.Name, lease.Name, pullWait)
	switch {
	case err == nil:
	case stop.Err() != nil, errors.Is(err, queue.ErrEmpty):
		return
	default:
		if !errors.Is(err, queue.ErrNoConsumer) {
			s.w.log.Warn("pull failed", zap.String("job", lease.Name), zap.Error(err))
		}
		select {
		case <-stop.Done():
		case <-time.After(idlePause):
		}
		return
	}
	if delivery.Ref.Job != lease.Job && stop.Err() == nil {
		s.w.log.Debug("message of an earlier job of the name", zap.String("job", delivery.Ref.Name))
	}
	s.receive(ctx, stop, cancel, d, delivery)
}

// watchLease keeps the slot's rate as the lease says and stops the range when the lease is withdrawn. A budget that has grown
// stale withdraws nothing: it only starts no batch.
func (s *slot) watchLease(stop context.Context, cancel context.CancelCauseFunc, d *desk, id job.ID) {
	for {
		changed := d.changes()
		l, ok := d.lease(s.n)
		if !ok || l.Job != id {
			cancel(errWithdrawn)
			return
		}
		s.limiter.SetRate(l.Rate)
		select {
		case <-stop.Done():
			return
		case <-changed:
		}
	}
}

// receive claims a delivered range, carries it, and says to the stream what the ledger has committed.
func (s *slot) receive(ctx, stop context.Context, cancel context.CancelCauseFunc, d *desk, delivery *queue.Delivery) {
	live := context.WithoutCancel(ctx)
	log := s.w.log.With(zap.String("database", d.db.Name), zap.String("job", delivery.Ref.Name), zap.Int("range", delivery.Ref.Index))
	claim, err := s.claim(live, d, delivery, nil)
	var busy *job.BusyError
	switch {
	case err == nil:
	case errors.Is(err, job.ErrStale):
		s.w.ack(d, delivery)
		return
	case errors.Is(err, job.ErrNotRunnable):
		try, cancel := context.WithTimeout(live, concludeTimeout)
		defer cancel()
		if err := d.db.Ledger.GiveBack(try, delivery.Ref); err != nil {
			log.Warn("range not given back", zap.Error(err))
			s.nak(log, delivery, time.Second)
			return
		}
		s.w.ack(d, delivery)
		return
	case errors.As(err, &busy):
		s.nak(log, delivery, busy.Remaining)
		return
	case errors.Is(err, job.ErrRelationGone), errors.Is(err, job.ErrRewritten):
		s.nak(log, delivery, 2*time.Second) // the coordinator is about to drop its ranges
		return
	default:
		log.Warn("claim failed", zap.Error(err))
		s.nak(log, delivery, time.Second)
		return
	}
	if claim.Attempts > 1 {
		log.Info("range taken over", zap.Int64("fence", claim.Fence), zap.Stringer("at", claim.Checkpoint.Key))
	}
	s.setHolding(&job.Held{Slot: s.n, Job: claim.Ref.Job, Range: claim.Ref.Index})
	defer s.setHolding(nil)
	stopKeepAlive := delivery.KeepAlive(live)
	c := &carrier{slot: s, desk: d, claim: claim, log: log, replySubject: delivery.ReplySubject(), journey: s.w.depart(claim, s.n)}
	var keeper sync.WaitGroup
	keep, endKeep := context.WithCancel(live)
	keeper.Go(func() { c.keepLease(keep, cancel) })

	end := errors.New("given up after too many claims without progress")
	if claim.Attempts <= mostClaims {
		end = c.carry(live, stop)
	} else {
		end = &rangeFailedError{end}
	}
	endKeep()
	keeper.Wait()
	stopKeepAlive()
	c.journey.arrive(c, end)
	s.conclude(live, log, d, c, delivery, end)
}

// conclude commits how the claim ended, and only then answers the message.
func (s *slot) conclude(live context.Context, log *zap.Logger, d *desk, c *carrier, delivery *queue.Delivery, end error) {
	ctx, cancel := context.WithTimeout(live, concludeTimeout)
	defer cancel()
	if _, may := d.runnable(c.job); !may && errors.Is(end, errWithdrawn) {
		end = errStopped // that is why the lease went
	}
	var failed *rangeFailedError
	var commit error
	switch {
	case end == nil:
		log.Debug("range done", zap.Int64("rows", c.rows), zap.Int64("batches", c.batches))
		s.w.ack(d, delivery)
		return
	case errors.Is(end, job.ErrFenced):
		commit = end
	case errors.As(end, &failed):
		log.Error("range failed", zap.Error(failed.cause))
		if commit = d.db.Ledger.FailRange(ctx, c.claim, failed.cause.Error()); commit == nil {
			if err := delivery.Term(failed.cause.Error()); err != nil {
				log.Warn("message not terminated", zap.Error(err))
			}
			return
		}
	default: // stopped, withdrawn, shutdown, or trouble that another try may outlive
		var again bool
		again, commit = d.db.Ledger.HandBack(ctx, c.claim, !errors.Is(end, errStopped))
		if commit != nil {
			break
		}
		log.Info("range handed back", zap.String("reason", end.Error()), zap.Stringer("at", c.claim.Checkpoint.Key))
		switch {
		case !again:
			s.w.ack(d, delivery)
		case errors.Is(end, errShutdown), errors.Is(end, errWithdrawn):
			s.nak(log, delivery, 0)
		default:
			s.nak(log, delivery, 2*time.Second)
		}
		return
	}
	if errors.Is(commit, job.ErrFenced) {
		log.Warn("range lost to another claim; nothing was committed after it", zap.Int64("fence", c.claim.Fence))
		return // the message is the other's
	}
	// The ledger did not hear it: the lease runs out and the coordinator takes the range back.
	log.Warn("hand-back not committed; the lease will run out", zap.NamedError("why", end), zap.Error(commit))
}

func (s *slot) claim(ctx context.Context, d *desk, delivery *queue.Delivery, prior *job.Claim) (job.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	return d.db.Ledger.Claim(ctx, delivery.Ref, s.w.cfg.ID, delivery.ReplySubject(), prior)
}

func (s *slot) nak(log *zap.Logger, d *queue.Delivery, delay time.Duration) {
	if err := d.Nak(delay); err != nil {
		log.Warn("message not given back; it comes again after its ack wait", zap.Error(err))
	}
}
