package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/harness"
)

type options struct {
	seed  uint64
	lasts time.Duration
	dir   string
	say   func(format string, args ...any)
	after func(context.Context, *chaos) // once all was checked, with the fleet still there; nil: nothing
}

// stillMost is how long a fleet may stand without any progress, whatever breaks: there is no time at which all is broken. Most of it are
// elections of a NATS cluster on a busy machine.
const stillMost = 90 * time.Second

// chaos is one run.
type chaos struct {
	options
	*fleet
	pool  *pgxpool.Pool // of the run's own, straight to the primary
	work  *work
	app   *application
	watch *watch

	mu         sync.Mutex
	places     map[Place]*sync.Mutex
	made       map[string][]episode // by kind
	missed     int                  // faults that could not be made, for their server was down
	violations []string
	figures    figures
}

// episode is one fault: when it was made, and when its mending began.
type episode struct{ from, to time.Time }

// figures are what the proof counted, of all jobs.
type figures struct {
	rows, batches, takeovers, retries int64
	budget                            map[time.Duration]float64 // the most of any window, as a share of the rate
}

// result is what a run tells.
type result struct {
	text       string
	violations []string
}

func (r result) String() string { return r.text }

// run breaks a fleet for as long as asked, waits until its job is complete, and checks. The error says that it could not do so.
func run(ctx context.Context, o options) (r result, err error) {
	dir, remove, err := keepDir(o)
	if err != nil {
		return r, err
	}
	c := &chaos{options: o, places: map[Place]*sync.Mutex{}, made: map[string][]episode{}}
	defer func() {
		if r = c.result(); err != nil || len(r.violations) > 0 {
			r.text += "\nwhat the processes logged is in " + dir
		} else {
			remove()
		}
	}()
	if c.fleet, err = startServers(dir, c.violation); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.fleet.close()) }()
	if err := c.load(ctx); err != nil {
		return r, err
	}
	defer c.pool.Close()
	if err := c.man(ctx); err != nil {
		return r, err
	}
	if err := c.carry(ctx); err != nil {
		return r, err
	}
	if err := c.check(ctx); err != nil {
		return r, err
	}
	if o.after != nil {
		o.after(ctx, c)
	}
	return r, nil
}

// load makes database, table and ledger.
func (c *chaos) load(ctx context.Context) error {
	if err := execOn(ctx, c.cluster.DSN("postgres"), "CREATE DATABASE "+databaseName); err != nil {
		return err
	}
	on := "pg_default"
	if c.cluster.Primary.Disk != "" {
		on = harness.SmallDisk
	}
	if err := execOn(ctx, c.direct, tables(on)...); err != nil {
		return err
	}
	if _, err := c.cli(ctx, "db", "init"); err != nil {
		return err
	}
	var err error
	c.pool, err = pgxpool.New(ctx, c.direct+"&pool_max_conns=12")
	return err
}

// carry runs jobs and the application while the schedule is played, and until the last job has ended.
func (c *chaos) carry(ctx context.Context) error {
	c.app = startApplication(context.WithoutCancel(ctx), c.pool, c.seed)
	defer c.app.load.Stop()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.watch = &watch{pool: c.pool, violate: c.violation}
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { c.watch.run(ctx) })

	c.work = &work{f: c.fleet, pool: c.pool}
	enough, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.work.run(ctx, enough) }()
	err := until(ctx, "the first batch", patience, func(context.Context) (bool, error) {
		_, ok := c.watch.next(time.Time{})
		return ok, nil
	})
	if err == nil {
		err = c.play(ctx, ended)
	}
	close(enough)
	if err == nil {
		err = <-ended
	}
	stop()
	return err
}

// play makes the faults of the schedule, each at its time, and returns when all are mended; or earlier when the work has failed.
func (c *chaos) play(ctx context.Context, failed chan error) error {
	events := Schedule(c.seed, c.lasts, kinds())
	c.say("seed %d: %d faults in %s", c.seed, len(events), c.lasts)
	strikes := map[string]fault{}
	for _, f := range faults {
		strikes[f.Name] = f
	}
	began := time.Now()
	var under sync.WaitGroup
	defer under.Wait()
	for _, e := range events {
		select {
		case err := <-failed:
			return errors.Join(errors.New("the jobs ended before the faults"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(began.Add(e.At))):
		}
		under.Go(func() { c.strike(ctx, strikes[e.Kind], e) })
	}
	return sleep(ctx, time.Until(began.Add(c.lasts)))
}

// strike makes one fault and mends it, after whatever still goes on at its places.
func (c *chaos) strike(ctx context.Context, f fault, e Event) {
	defer c.occupy(e.Places)()
	struck := time.Now()
	mend, err := f.strike(ctx, c, e)
	if err != nil {
		c.say("%s %s: not possible now: %v", e.Kind, e.Places, err)
		c.mu.Lock()
		c.missed++
		c.mu.Unlock()
	} else {
		c.say("%s %s, for %s", e.Kind, e.Places, short(e.For))
	}
	_ = sleep(ctx, time.Until(struck.Add(e.For)))
	ended := time.Now()
	if mend != nil {
		// What an order did may not be known, and who should mend it may be down: it is tried until it is done.
		err := until(context.WithoutCancel(ctx), e.Kind+" is mended", patience, func(ctx context.Context) (bool, error) {
			err := mend(ctx)
			return err == nil, err
		})
		if err != nil {
			c.violation("%v", err)
		}
	}
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made[e.Kind] = append(c.made[e.Kind], episode{struck, ended})
	}
}

// occupy waits until all of these places are whole, and takes them until they are left. All faults have the same order of targets, so none
// waits for another that waits for it.
func (c *chaos) occupy(places []Place) (leave func()) {
	for _, p := range places {
		c.place(p).Lock()
	}
	return func() {
		for _, p := range places {
			c.place(p).Unlock()
		}
	}
}

func (c *chaos) place(p Place) *sync.Mutex {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[p] == nil {
		c.places[p] = &sync.Mutex{}
	}
	return c.places[p]
}

func (c *chaos) violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := fmt.Sprintf(format, args...)
	c.violations = append(c.violations, v)
	c.say("VIOLATION: %s", v)
}

// result sums up.
func (c *chaos) result() result {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	made := 0
	var all []recovery
	for kind, episodes := range c.made {
		made += len(episodes)
		all = append(all, c.watch.recovery(kind, episodes))
	}
	slices.SortFunc(all, func(a, b recovery) int { return strings.Compare(a.kind, b.kind) })
	fmt.Fprintf(&b, "\nseed %d: %d faults of %d kinds in %s, %d more could not be made for what was down\n", c.seed, made, len(all), c.lasts, c.missed)
	fmt.Fprintln(&b, "made  kind                                             the fleet got on, once it was mended, within (median, most); stood still at most")
	for _, r := range all {
		fmt.Fprintln(&b, r)
	}
	if c.watch != nil {
		gap, from := c.watch.longest()
		fmt.Fprintf(&b, "longest time without progress, faults and all: %s from %s; looked at the ledger %d times for what it took back\n", short(gap), from.UTC().Format(time.TimeOnly), c.watch.looks)
	}
	if c.work != nil {
		fmt.Fprintf(&b, "%d jobs: %d rows in %d batches, %d takeovers, %d retries\n", len(c.work.jobs), c.figures.rows, c.figures.batches, c.figures.takeovers, c.figures.retries)
		for _, w := range slices.Sorted(maps.Keys(c.figures.budget)) {
			fmt.Fprintf(&b, "most rows in any %s: %.2f of the rate\n", w, c.figures.budget[w])
		}
	}
	if c.app != nil {
		s := c.app.load.Stats()
		updates, inserts, unsure := c.app.sums()
		fmt.Fprintf(&b, "application: %d updates and %d inserts known to be committed, %d not known, %d taken by failovers, p50 %s, p99 %s\n",
			updates, inserts, unsure, c.app.taken, s.All.P50.Round(100*time.Microsecond), short(s.All.P99))
	}
	if c.fleet != nil {
		var starts, quits int
		var slowest time.Duration
		for _, s := range c.seats() {
			starts += s.starts
			quits += s.quits
			slowest = max(slowest, s.slowest)
		}
		fmt.Fprintf(&b, "%d processes started; %d ended by themselves, for a server was down as they started; the slowest took %s from SIGTERM to its end\n", starts, quits, short(slowest))
	}
	fmt.Fprintf(&b, "%d violations", len(c.violations))
	for _, v := range c.violations {
		fmt.Fprintf(&b, "\n  %s", v)
	}
	return result{b.String(), c.violations}
}

func execOn(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func queryOn(ctx context.Context, dsn, sql string, into any) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.QueryRow(ctx, sql).Scan(into)
}
