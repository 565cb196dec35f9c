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

	mu    sync.Mutex
	last  standing
	looks int
	turns int         // to another timeline
	at    []time.Time // when it got on
}

// standing is what the ledger says. Nothing of it ever goes down: claims, ends, epochs and states are flushed before anybody sees them.
// A failover alone may take claims and ends of ranges back, and begins a new timeline with that; not an epoch, and not the end of a job.
// Rows may go down, with the server's last moments.
type standing struct {
	Timeline                   string
	Epoch, Claims, Done, Ended int64
	steps                      int64
}

const standingSQL = `SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8),
	(SELECT coalesce(max(epoch), 0) FROM backfleet.leadership), coalesce(sum(claims), 0)::bigint,
	count(*) FILTER (WHERE state = 'done'), (SELECT count(*) FROM backfleet.jobs WHERE ended_at IS NOT NULL),
	(coalesce(sum(batches), 0) + count(*) FILTER (WHERE state = 'done') + (SELECT count(*) FROM backfleet.jobs WHERE ended_at IS NOT NULL))::bigint
	FROM backfleet.ranges`

// breaks says what of it went back.
func (s standing) breaks(was standing) bool {
	if s.Epoch < was.Epoch || s.Ended < was.Ended || s.Timeline < was.Timeline {
		return true
	}
	return s.Timeline == was.Timeline && (s.Claims < was.Claims || s.Done < was.Done)
}

func (w *watch) run(ctx context.Context) {
	for sleep(ctx, pollEvery) == nil {
		w.look(ctx)
	}
}

func (w *watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var now standing
	if err := w.pool.QueryRow(ctx, standingSQL).Scan(&now.Timeline, &now.Epoch, &now.Claims, &now.Done, &now.Ended, &now.steps); err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.last.Timeline != "" && now.Timeline != w.last.Timeline {
		w.turns++
	}
	if now.breaks(w.last) {
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
	return still(w.at)
}

// still is the longest time between two of these.
func still(at []time.Time) (gap time.Duration, from time.Time) {
	for n := 1; n < len(at); n++ {
		if d := at[n].Sub(at[n-1]); d > gap {
			gap, from = d, at[n-1]
		}
	}
	return gap, from
}

// recovery sums up the faults of a kind: how soon after the mending the fleet got on, and for how long it did not while they lasted.
type recovery struct {
	kind                string
	times               int
	median, most, still time.Duration
}

func (r recovery) String() string {
	return fmt.Sprintf("%4d  %-48s %8s %8s %8s", r.times, r.kind, short(r.median), short(r.most), short(r.still))
}

func (w *watch) recovery(kind string, episodes []episode) recovery {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := recovery{kind: kind, times: len(episodes)}
	var took []time.Duration
	for _, e := range episodes {
		first, _ := slices.BinarySearchFunc(w.at, e.from, time.Time.Compare)
		next, _ := slices.BinarySearchFunc(w.at, e.to, time.Time.Compare)
		if next == len(w.at) {
			continue
		}
		took = append(took, w.at[next].Sub(e.to))
		gap, _ := still(w.at[max(0, first-1) : next+1])
		r.still = max(r.still, gap)
	}
	if len(took) > 0 {
		slices.Sort(took)
		r.median, r.most = took[len(took)/2], took[len(took)-1]
	}
	return r
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
