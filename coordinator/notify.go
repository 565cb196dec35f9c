package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/notify"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/store"
)

// Notifications say who is told what becomes of jobs.
type Notifications struct {
	Receivers []notify.Receiver
	HeldAfter time.Duration // how long batches may stand still before people are told; 0: they are not
	Link      string        // the address of the dashboard; empty: none is told
}

const (
	notifyEvery   = time.Second
	notifyTimeout = 30 * time.Second // of one round, with what is sent in it
	newsAge       = time.Hour        // what is older is no news
	resendFirst   = 5 * time.Second
	resendMost    = 10 * time.Minute
)

// notify tells people beyond the fleet. What is to be told is stored first, under a subject of its own, so that another leader tells
// nothing twice; a message that was sent and not noted as such comes again, under the same id.
func (l *leadership) notify(ctx context.Context) {
	var all sync.WaitGroup
	for _, r := range l.c.cfg.Notify.Receivers {
		t := &telling{leadership: l, to: r, told: map[string]bool{}}
		all.Go(func() {
			every(ctx, notifyEvery, within(notifyTimeout, func(ctx context.Context) {
				if err := t.round(ctx); err != nil {
					l.complain(ctx, "people not told", err, zap.String("receiver", r.Name))
				}
			}))
		})
	}
	all.Wait()
}

// telling is what one receiver is told.
type telling struct {
	*leadership
	to    notify.Receiver
	begun bool
	told  map[string]bool // subjects that are stored for sure: they need not be asked for again
}

func (t *telling) round(ctx context.Context) error {
	if !t.begun { // at once: what happens from now on is news
		if err := t.ledger.BeginNotices(ctx, t.to.Name); err != nil {
			return err
		}
		t.begun = true
	}
	if !t.ready() {
		return nil
	}
	for _, collect := range []func(context.Context) error{t.events, t.states, t.quarantine, t.holds} {
		if err := collect(ctx); err != nil {
			return err
		}
	}
	return t.send(ctx)
}

// tell stores a message, once a subject.
func (t *telling) tell(ctx context.Context, subject string, m notify.Message) error {
	if t.told[subject] {
		return nil
	}
	m.Version = 1
	m.URL = t.c.cfg.Notify.Link
	err := t.ledger.Notify(ctx, t.to.Name, subject, func(id string) any {
		m.ID = id
		return m
	})
	t.told[subject] = err == nil
	return err
}

// events tells what the audit log holds of changes of state and of holds.
func (t *telling) events(ctx context.Context) error {
	news, err := t.ledger.News(ctx, t.to.Name, notify.Events())
	if err != nil {
		return err
	}
	for _, e := range news {
		var of *job.Job
		var report *job.Report
		if e.Job != "" {
			j, err := t.ledger.Get(ctx, e.Job)
			if err != nil {
				return err
			}
			of = &j
			if e.Action == "end" && j.State.Ended() {
				r, err := t.ledger.Report(ctx, j.ID)
				if err != nil {
					return err
				}
				report = &r
			}
		}
		if err := t.tell(ctx, fmt.Sprintf("event/%d", e.ID), notify.Of(t.ledger.Database(), e, of, report)); err != nil {
			return err
		}
	}
	return nil
}

// states tells what jobs came to by themselves.
func (t *telling) states(ctx context.Context) error {
	for _, j := range t.snapshot() {
		if !j.State.Active() || time.Since(j.Started) > newsAge && j.State == job.Running {
			continue
		}
		if err := t.tell(ctx, string(j.State)+"/"+string(j.ID), notify.Entered(j, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// quarantine tells of the first row that a job sets aside, and whenever there are twice as many.
func (t *telling) quarantine(ctx context.Context) error {
	if len(t.snapshot()) == 0 {
		return nil
	}
	counts, err := t.ledger.QuarantinedOpen(ctx)
	if err != nil || len(counts) == 0 {
		return err
	}
	for _, j := range t.snapshot() {
		n := counts[j.ID]
		if n == 0 {
			continue
		}
		subject := fmt.Sprintf("quarantine/%s/%d", j.ID, bits.Len64(uint64(n)))
		if err := t.tell(ctx, subject, notify.SetAside(j, n, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// holds tells that the batches of active jobs stand still for longer than they may, and when they go on.
func (t *telling) holds(ctx context.Context) error {
	after := t.c.cfg.Notify.HeldAfter
	active := false
	for _, j := range t.snapshot() {
		active = active || j.State.Active()
	}
	if after == 0 || !active {
		return nil
	}
	now := time.Now()
	free, why, known := t.gov.verdict(now)
	since := t.gov.fleet().HeldSince
	if !known || !free && now.Sub(since) < after {
		return nil
	}
	told, err := t.ledger.HeldNotice(ctx, t.to.Name)
	switch {
	case err != nil:
		return err
	case free && told != "":
		return t.tell(ctx, "freed/"+strings.TrimPrefix(told, "held/"), notify.GoesOn(t.ledger.Database(), now))
	case !free && told == "":
		return t.tell(ctx, fmt.Sprintf("held/%d", since.UnixMilli()), notify.Stands(t.ledger.Database(), since, now, why.Text))
	}
	return nil
}

// send sends what is due, in its order. A receiver that does not take one is given time.
func (t *telling) send(ctx context.Context) error {
	due, err := t.ledger.DueNotices(ctx, t.to.Name)
	if err != nil {
		return err
	}
	for _, n := range due {
		var m notify.Message
		if err := json.Unmarshal(n.Message, &m); err != nil {
			return fmt.Errorf("message %s: %w", n.ID, err)
		}
		if err := t.to.Send(ctx, m); err != nil {
			return t.failed(ctx, n, err)
		}
		if err := t.ledger.NoticeSent(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *telling) failed(ctx context.Context, n store.Notice, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	again := min(resendFirst<<min(n.Attempts, 10), resendMost)
	gaveUp, err := t.ledger.NoticeFailed(ctx, n, cause.Error(), again)
	if err != nil {
		return err
	}
	t.log.Warn("message not delivered", zap.String("receiver", n.Target), zap.String("message", n.ID), zap.Bool("given_up", gaveUp),
		zap.Duration("again_in", again), zap.String(observe.Error, cause.Error()))
	return nil
}
