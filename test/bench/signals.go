package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	costSettle = 5 * time.Second // of each trial, not measured
	costWindow = 15 * time.Second
)

// costJob keeps a fleet of any size at the same rate, so that only the number of slots differs.
const costJob = "workers: {max: 1024}\nthrottle: {max_rows_per_second: 40000}\n"

// signalCost measures what it costs to govern a database: the processor time of the sessions that read signals, on the primary, with
// that of the coordinator's whole process, which does more than read them, so this is an upper bound. What its other sessions use, such
// as those that release ranges, is shown beside it.
func signalCost(ctx context.Context, b *bench) error {
	fleets := []struct {
		name           string
		workers, slots int
		busy           bool
		goal           float64
	}{
		{"idle, 4 slots", 1, 4, false, 0.5},
		{"idle, 64 slots", 4, 16, false, 0.5},
		{"at work, 4 slots", 1, 4, true, 3},
		{"at work, 64 slots", 4, 16, true, 3},
	}
	sampling, process, both, others := map[string]series{}, map[string]series{}, map[string]series{}, map[string]series{}
	for rep := range b.reps {
		for _, f := range fleets {
			c, err := b.cost(ctx, f.workers, f.slots, f.busy)
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			sampling[f.name], process[f.name] = append(sampling[f.name], c.sampling), append(process[f.name], c.process)
			both[f.name], others[f.name] = append(both[f.name], c.sampling+c.process), append(others[f.name], c.others)
			b.say("  round %d: %s: sampling %.2f %%, process %.2f %%, other sessions %.2f %% of a core", rep+1, f.name, c.sampling, c.process, c.others)
		}
	}
	for _, f := range fleets {
		b.add("signals", f.name+": sessions that read signals", "% of a core", sampling[f.name], nil)
		b.add("signals", f.name+": the coordinator's process", "% of a core", process[f.name], nil)
		b.add("signals", f.name+": both", "% of a core", both[f.name], atMost(f.goal))
		b.add("signals", f.name+": the coordinator's other sessions", "% of a core", others[f.name], nil)
	}
	b.add("signals", "at work: 64 slots / 4 slots, sessions that read signals", "x", sampling[fleets[3].name].over(sampling[fleets[2].name]), atMost(1.2))
	return nil
}

// cost is what governing takes, in percent of a core.
type cost struct{ sampling, process, others float64 }

// cost lets a fleet stand idle or work, and looks at its coordinator.
func (b *bench) cost(ctx context.Context, workers, slots int, busy bool) (c cost, err error) {
	cluster, err := b.pair()
	if err != nil {
		return c, err
	}
	tr, err := b.freshOn(ctx, cluster, b.plain())
	if err != nil {
		return c, err
	}
	defer tr.end(ctx)
	coordinator, err := tr.coordinate()
	if err != nil {
		return c, err
	}
	for n := range workers {
		if _, err := tr.work(fmt.Sprintf("worker%d", n+1), slots); err != nil {
			return c, err
		}
	}
	if busy {
		if err := tr.submit(costJob); err != nil {
			return c, err
		}
		if err := tr.awaitFirstBatch(ctx); err != nil {
			return c, err
		}
	}
	if err := sleep(ctx, costSettle); err != nil {
		return c, err
	}
	sampling, others := sessionTimes{}, sessionTimes{}
	look := func(first bool) error {
		return errors.Join(sampling.look(ctx, tr, "^backfleet governor", first), others.look(ctx, tr, "^backfleet coordinator", first))
	}
	if err := look(true); err != nil {
		return c, err
	}
	began, first := time.Now(), processorTime(coordinator.PID())
	for time.Since(began) < costWindow {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return c, err
		}
		if err := look(false); err != nil {
			return c, err
		}
	}
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(began).Seconds() }
	c = cost{percent(sampling.total()), percent(processorTime(coordinator.PID()) - first), percent(others.total())}
	if busy {
		err = tr.command(tr.dsn(), "cancel", tr.name)
	}
	return c, err
}

// ledSessions are all sessions of a coordinator.
const ledSessions = "^backfleet (coordinator|governor)"

// sessionTimes follows the processor time of sessions of some name, which come and go.
type sessionTimes map[int]struct{ first, last time.Duration }

// look brings the times up to date of the sessions whose name matches a regular expression. What a session had used before the first look does not count.
func (s sessionTimes) look(ctx context.Context, t *trial, name string, isFirst bool) error {
	rows, err := t.pool.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name ~ $2", t.name, name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return err
		}
		if used, known := s[pid]; !known && isFirst {
			used.first = processorTime(pid)
			s[pid] = used
		} else if !known {
			s[pid] = used
		}
	}
	for pid, used := range s {
		used.last = max(used.last, processorTime(pid))
		s[pid] = used
	}
	return rows.Err()
}

func (s sessionTimes) total() (sum time.Duration) {
	for _, used := range s {
		sum += used.last - used.first
	}
	return sum
}

// processorTime is what a process has used so far, with all its threads; 0 once it is gone. The clock's number is the process's, as
// clock_getcpuclockid(3) makes it: exact, where /proc counts in hundredths of a second.
func processorTime(pid int) time.Duration {
	const schedulerClock = 2
	var used unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|schedulerClock), &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}
