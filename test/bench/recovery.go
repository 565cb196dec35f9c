package main

import (
	"context"
	"fmt"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// recovery has two workers and one long range. The one that carries it is killed, or told to end, and the other, which has no
// lease until then, goes on: so the time holds everything, from the first second of silence to the next batch.
func recovery(ctx context.Context, b *bench) error {
	var killed, handed, resumed, exited series
	tr, err := b.fresh(ctx, b.plain())
	if err != nil {
		return err
	}
	defer tr.end(ctx)
	if _, err := tr.coordinate(); err != nil {
		return err
	}
	crew := map[string]*harness.Process{}
	hire := func(n int) error {
		id := fmt.Sprintf("worker%d", n)
		p, err := tr.work(id, 1)
		crew[tr.name+"-"+id] = p
		return err
	}
	for n := range 2 {
		if err := hire(n); err != nil {
			return err
		}
	}
	if err := tr.submit("rows_per_range: 10000000\nthrottle: {max_rows_per_second: 10000}\n"); err != nil {
		return err
	}
	for rep := range b.reps {
		for _, kill := range []bool{true, false} {
			s, err := tr.replace(ctx, crew, kill)
			if err != nil {
				return err
			}
			if kill {
				killed = append(killed, s.resumed.Seconds())
				b.say("  round %d: SIGKILL, next batch after %s", rep+1, s.resumed.Round(time.Millisecond))
			} else {
				handed, resumed, exited = append(handed, s.released.Seconds()), append(resumed, s.resumed.Seconds()), append(exited, s.exited.Seconds())
				b.say("  round %d: SIGTERM, handed back %s after the last batch, next batch after %s, exit %s after the signal", rep+1,
					s.released.Round(time.Millisecond), s.resumed.Round(time.Millisecond), s.exited.Round(time.Millisecond))
			}
			next := 2*rep + 2
			if !kill {
				next++
			}
			if err := hire(next); err != nil {
				return err
			}
		}
	}
	b.add("recovery", "SIGKILL to the next worker's first batch", "s", killed, atMost(12))
	b.add("recovery", "SIGTERM: last batch to the hand-back in the ledger", "s", handed, atMost(0.5))
	b.add("recovery", "SIGTERM: last batch to the next worker's first batch", "s", resumed, nil)
	b.add("recovery", "SIGTERM to the end of the process", "s", exited, nil)
	return tr.command(tr.dsn(), "cancel", tr.name)
}

// succession is how long a range took to change hands.
type succession struct {
	released time.Duration // last batch to hand-back
	resumed  time.Duration // signal (SIGKILL) or last batch (SIGTERM) to the successor's first batch
	exited   time.Duration
}

// hold is a range as the ledger shows it.
type hold struct {
	owner, state   string
	fence, batches int64
}

// replace ends the worker that carries the range and watches the range change hands.
func (t *trial) replace(ctx context.Context, crew map[string]*harness.Process, kill bool) (s succession, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	look := func() (h hold, err error) {
		err = t.pool.QueryRow(ctx, "SELECT coalesce(owner, ''), state, fence, batches FROM backfleet.ranges WHERE index = 0").
			Scan(&h.owner, &h.state, &h.fence, &h.batches)
		return h, err
	}
	const carried = `SELECT count(*) > 0 FROM backfleet.ranges r WHERE r.index = 0 AND r.state = 'running' AND r.batches > $1`
	before, err := t.batches(ctx)
	if err != nil {
		return s, err
	}
	if err := t.await(ctx, "batches of the range", carried, before+20); err != nil {
		return s, err
	}
	last, err := look()
	if err != nil {
		return s, err
	}
	victim := crew[last.owner]
	if victim == nil {
		return s, fmt.Errorf("the range is carried by %s, which is none of ours", last.owner)
	}
	signalled := time.Now()
	if kill {
		err = victim.Kill()
	} else {
		err = victim.Term()
	}
	if err != nil {
		return s, err
	}
	lastBatch, released := signalled, time.Time{}
	for {
		h, err := look()
		if err != nil {
			return s, err
		}
		now := time.Now()
		switch {
		case h.fence == last.fence && h.batches > last.batches:
			last, lastBatch = h, now
		case h.state == "released" && released.IsZero():
			released = now
		}
		if s.exited == 0 && !victim.Running() {
			s.exited = now.Sub(signalled)
		}
		if h.fence > last.fence && h.batches > last.batches {
			s.resumed = now.Sub(lastBatch)
			if kill {
				s.resumed = now.Sub(signalled)
			} else if !released.IsZero() {
				s.released = released.Sub(lastBatch)
			}
			break
		}
		if err := sleep(ctx, pollSoon); err != nil {
			return s, fmt.Errorf("wait for the range's next worker; it is %s of %s: %w", h.state, h.owner, err)
		}
	}
	_, err = victim.Wait(10 * time.Second)
	if s.exited == 0 {
		s.exited = time.Since(signalled)
	}
	delete(crew, last.owner)
	return s, err
}

func (t *trial) batches(ctx context.Context) (n int64, err error) {
	err = t.pool.QueryRow(ctx, "SELECT coalesce(sum(batches), 0)::bigint FROM backfleet.ranges").Scan(&n)
	return n, err
}
