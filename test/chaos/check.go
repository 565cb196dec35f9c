package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/internal/job"
)

// check reads the whole history once all is over.
func (c *chaos) check(ctx context.Context) error {
	if gap, from := c.watch.longest(); gap > stillMost {
		c.violate("the fleet stood still for %s from %s", short(gap), from.UTC().Format(time.StampMilli))
	}
	c.checkCosts()
	c.figures = figures{budget: map[time.Duration]float64{}}
	// Made only now, so that no batch pays for it.
	if err := execOn(ctx, c.direct, "CREATE INDEX IF NOT EXISTS history_job ON public.history (job)"); err != nil {
		return err
	}
	steps := []func(context.Context) error{c.checkRows, c.checkReplica, c.checkStream, c.checkBudget}
	for _, name := range c.work.jobs {
		steps = append(steps,
			func(ctx context.Context) error { return c.checkReport(ctx, name) },
			func(ctx context.Context) error { return c.checkCoverage(ctx, name) },
			func(ctx context.Context) error { return c.checkHistory(ctx, name) })
	}
	steps = append(steps, func(ctx context.Context) error {
		problems, err := c.app.check(ctx, c.pool)
		for _, p := range problems {
			c.violate("%s", p)
		}
		return err
	})
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkCosts holds what was taken back against the faults that may cost it.
func (c *chaos) checkCosts() {
	may := 0
	for _, f := range faults {
		if f.costs == commits {
			may += len(c.made[f.Name])
		}
	}
	if c.watch.turns > may || may == 0 && c.app.taken > 0 {
		c.violate("%d faults may take commits, and the timeline changed %d times, with %d commits of the application gone", may, c.watch.turns, c.app.taken)
	}
}

// none reports a violation for each row that a query returns, up to ten; the row is one text.
func (c *chaos) none(ctx context.Context, what, sql string, args ...any) error {
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		var text string
		if err := rows.Scan(&text); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n < 10 {
			c.violate("%s: %s", what, text)
		}
	}
	return rows.Err()
}

// checkRows holds each row's counter against the number of jobs whose bound is not below it.
func (c *chaos) checkRows(ctx context.Context) error {
	return c.none(ctx, "a row's counter is wrong", `WITH bounds AS (`+boundsSQL+`)
		SELECT format('row %s has %s of %s', id, counter, owed) FROM (
			SELECT id, counter, (SELECT count(*) FROM bounds WHERE bound >= id) AS owed FROM public.accounts) a WHERE counter <> owed ORDER BY id`)
}

// checkReport holds the fleet's own proof to what must be.
func (c *chaos) checkReport(ctx context.Context, name string) error {
	r, err := c.work.report(ctx, name)
	if err != nil {
		return err
	}
	if r.State != job.Complete || !r.Verified || r.Repaired != 0 && r.Order == job.OrderKey || len(r.Quarantined) != 0 || len(r.Coverage) != 1 || len(r.Coverage[0].Gaps) != 0 {
		c.violate("%s ended %s (%s), verified %t, repaired %d, quarantined %d, coverage %+v", name, r.State, r.Reason, r.Verified, r.Repaired, len(r.Quarantined), r.Coverage)
	}
	c.figures.rows += r.Rows
	c.figures.batches += r.Batches
	c.figures.takeovers += r.Takeovers
	c.figures.retries += r.Retries
	return nil
}

// checkCoverage reads the ledger itself: ranges that begin where the one before ends, from no bound to the frozen one, all done, and as
// many rows as the history has.
func (c *chaos) checkCoverage(ctx context.Context, name string) error {
	err := c.none(ctx, name+" has a gap", `SELECT format('range %s from %s to %s after %s, %s', index, lo, hi, before, state) FROM (
			SELECT r.*, lag(hi) OVER o AS before, lead(index) OVER o IS NULL AS last, s.bound FROM backfleet.ranges r
			JOIN backfleet.jobs j ON j.id = r.job_id JOIN backfleet.relations s ON s.job_id = r.job_id
			WHERE j.name = $1 AND kind = 'fill' WINDOW o AS (ORDER BY index)) r
		WHERE lo IS DISTINCT FROM before OR state <> 'done' OR hi_inclusive <> last OR last AND hi IS DISTINCT FROM bound`, name)
	return errors.Join(err, c.none(ctx, name+" counts wrong", `SELECT format('the ledger has %s rows, the history %s', ledger, history)
		FROM (SELECT coalesce(sum(rows), 0) AS ledger FROM backfleet.ranges r JOIN backfleet.jobs j ON j.id = r.job_id WHERE j.name = $1) l,
		(SELECT count(*) AS history FROM public.history WHERE job = $1) h WHERE ledger <> history`, name))
}

// checkHistory holds what the trigger saw to the promise: each row up to the bound once, none beyond it, each time from the value that
// the job before left.
func (c *chaos) checkHistory(ctx context.Context, name string) error {
	return c.none(ctx, name+" did a row wrongly", `WITH bound AS (
			SELECT bound AS most FROM (`+boundsSQL+`) b WHERE name = $1),
		seen AS (SELECT id, count(*) AS times, min(was) AS was, max(became) AS became, string_agg(slot || ' at ' || at, ', ') AS who
			FROM public.history WHERE job = $1 GROUP BY id)
		SELECT format('row %s %s times, from %s to %s, by %s', coalesce(s.id, a.id), coalesce(times, 0), was, became, who)
		FROM (SELECT id FROM public.accounts, bound WHERE id <= most) a FULL JOIN seen s ON s.id = a.id
		WHERE a.id IS NULL OR s.id IS NULL OR times <> 1 OR became <> was + 1`, name)
}

// checkReplica compares the standby with the primary.
func (c *chaos) checkReplica(ctx context.Context) error {
	if err := c.cluster.WaitReplayed(); err != nil {
		return err
	}
	const sql = "SELECT md5(string_agg(format('%s %s %s', id, app, counter), ',' ORDER BY id)) FROM public.accounts"
	var here, there string
	if err := c.pool.QueryRow(ctx, sql).Scan(&here); err != nil {
		return err
	}
	if err := queryOn(ctx, c.cluster.ReplicaDSN(0, databaseName), sql, &there); err != nil {
		return err
	}
	if here != there {
		c.violate("the standby has other rows than the primary")
	}
	return nil
}

// checkStream looks for what the jobs left behind.
func (c *chaos) checkStream(ctx context.Context) error {
	nc, js, err := c.jetstream()
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := js.Stream(ctx, streamName)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return err
	}
	if info.State.Msgs != 0 || info.State.Consumers != 0 {
		c.violate("the stream is not empty: %d messages %v, %d consumers", info.State.Msgs, info.State.Subjects, info.State.Consumers)
	}
	return nil
}

// Over a window of w seconds a slot may write its rate × (w + 0.75) rows: what it had saved and its last batch. A lease that moves may do
// that in two slots; and a slot that hears nothing goes on for three seconds, of which the last one may be another's already.
const budgetSlack = 2*750*time.Millisecond + time.Second

var budgetWindows = []time.Duration{2 * time.Second, 10 * time.Second, time.Minute}

// checkBudget counts what was written in any window of some lengths. The jobs follow each other, and each has the same limit.
func (c *chaos) checkBudget(ctx context.Context) error {
	rows, err := c.pool.Query(ctx, "SELECT at, count(*) FROM public.history GROUP BY at, slot ORDER BY at")
	if err != nil {
		return err
	}
	defer rows.Close()
	var batches []batch
	for rows.Next() {
		var b batch
		if err := rows.Scan(&b.at, &b.rows); err != nil {
			return err
		}
		batches = append(batches, b)
	}
	for _, w := range budgetWindows {
		n, from := most(batches, w)
		c.figures.budget[w] = float64(n) / (rateMost * w.Seconds())
		if allowed := rateMost * (w + budgetSlack).Seconds(); float64(n) > allowed {
			c.violate("%d rows were written in the %s from %s: more than %.0f", n, w, from.UTC().Format(time.StampMilli), allowed)
		}
	}
	return rows.Err()
}
