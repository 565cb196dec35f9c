package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// watch looks at the ledger all the time: when the fleet got on, and that nothing is taken back.
type watch struct {
	pool    *pgxpool.Pool
	violate func(format string, args ...any)

	mu   sync.Mutex
	last standing
	at   []time.Time // when it got on
}

// standing is what the ledger says. None of it ever goes down, whatever dies: claims, ends, epochs and states are flushed before
// anybody sees them. Rows may, with the server's last moments.
type standing struct {
	Epoch, Claims, Done, Ended int64
	steps                      int64
}

const standingSQL = `SELECT (SELECT coalesce(max(epoch), 0) FROM backfleet.leadership), coalesce(sum(claims), 0)::bigint,
	count(*) FILTER (WHERE state = 'done'), (SELECT count(*) FROM backfleet.jobs WHERE ended_at IS NOT NULL),
	(coalesce(sum(batches), 0) + count(*) FILTER (WHERE state = 'done') + (SELECT count(*) FROM backfleet.jobs WHERE ended_at IS NOT NULL))::bigint
	FROM backfleet.ranges`

func (w *watch) run(ctx context.Context) {
	for sleep(ctx, pollEvery) == nil {
		w.look(ctx)
	}
}

func (w *watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var now standing
	if err := w.pool.QueryRow(ctx, standingSQL).Scan(&now.Epoch, &now.Claims, &now.Done, &now.Ended, &now.steps); err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Epoch < w.last.Epoch || now.Claims < w.last.Claims || now.Done < w.last.Done || now.Ended < w.last.Ended {
		w.violate("the ledger took something back: it said %+v and now says %+v", w.last, now)
	}
	if now.steps > w.last.steps {
		w.at = append(w.at, time.Now())
	}
	w.last = now
}

// next is when the fleet first got on after a moment; false where it has not.
func (w *watch) next(after time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, _ := slices.BinarySearchFunc(w.at, after, time.Time.Compare)
	if n == len(w.at) {
		return time.Time{}, false
	}
	return w.at[n], true
}

// longest is the longest time without progress, and when it began.
func (w *watch) longest() (gap time.Duration, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 1; n < len(w.at); n++ {
		if d := w.at[n].Sub(w.at[n-1]); d > gap {
			gap, from = d, w.at[n-1]
		}
	}
	return gap, from
}

// recovery sums up how soon the fleet got on after faults of a kind.
type recovery struct {
	kind         string
	times        int
	median, most time.Duration
}

func (r recovery) String() string {
	return fmt.Sprintf("%4d  %-48s %8s %8s", r.times, r.kind, short(r.median), short(r.most))
}

func sumUp(took map[string][]time.Duration) (all []recovery) {
	for kind, d := range took {
		slices.Sort(d)
		all = append(all, recovery{kind, len(d), d[len(d)/2], d[len(d)-1]})
	}
	slices.SortFunc(all, func(a, b recovery) int {
		if a.kind < b.kind {
			return -1
		}
		return 1
	})
	return all
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
