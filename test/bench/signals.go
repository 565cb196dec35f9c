package main

import (
	"context"
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

// signalCost measures what it costs to govern a database: the processor time of the coordinator's sessions and of its process.
// Both do more than sample, such as releasing ranges, so this is an upper bound.
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
	sessions, process, both := map[string]series{}, map[string]series{}, map[string]series{}
	for rep := range b.reps {
		for _, f := range fleets {
			s, p, err := b.cost(ctx, f.workers, f.slots, f.busy)
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			sessions[f.name], process[f.name], both[f.name] = append(sessions[f.name], s), append(process[f.name], p), append(both[f.name], s+p)
			b.say("  round %d: %s: sessions %.2f %%, process %.2f %% of a core", rep+1, f.name, s, p)
		}
	}
	for _, f := range fleets {
		b.add("signals", f.name+": the coordinator's sessions", "% of a core", sessions[f.name], nil)
		b.add("signals", f.name+": its process", "% of a core", process[f.name], nil)
		b.add("signals", f.name+": both", "% of a core", both[f.name], atMost(f.goal))
	}
	b.add("signals", "at work: 64 slots / 4 slots, sessions", "x", sessions[fleets[3].name].over(sessions[fleets[2].name]), atMost(1.2))
	return nil
}

// cost returns the percent of a core that the coordinator's sessions and its process take.
func (b *bench) cost(ctx context.Context, workers, slots int, busy bool) (sessions, process float64, err error) {
	cluster, err := b.pair()
	if err != nil {
		return 0, 0, err
	}
	tr, err := b.freshOn(ctx, cluster, b.plain())
	if err != nil {
		return 0, 0, err
	}
	defer tr.end(ctx)
	coordinator, err := tr.coordinate()
	if err != nil {
		return 0, 0, err
	}
	for n := range workers {
		if _, err := tr.work(fmt.Sprintf("worker%d", n+1), slots); err != nil {
			return 0, 0, err
		}
	}
	if busy {
		if err := tr.submit(costJob); err != nil {
			return 0, 0, err
		}
		if err := tr.awaitFirstBatch(ctx); err != nil {
			return 0, 0, err
		}
	}
	if err := sleep(ctx, costSettle); err != nil {
		return 0, 0, err
	}
	spent := sessionTimes{}
	if err := spent.look(ctx, tr, true); err != nil {
		return 0, 0, err
	}
	began, first := time.Now(), processorTime(coordinator.PID())
	for time.Since(began) < costWindow {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return 0, 0, err
		}
		if err := spent.look(ctx, tr, false); err != nil {
			return 0, 0, err
		}
	}
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(began).Seconds() }
	sessions, process = percent(spent.total()), percent(processorTime(coordinator.PID())-first)
	if busy {
		err = tr.command(tr.dsn(), "cancel", tr.name)
	}
	return sessions, process, err
}

// sessionTimes follows the processor time of the coordinator's sessions, which come and go.
type sessionTimes map[int]struct{ first, last time.Duration }

// look brings the times up to date. What a session had used before the first look does not count.
func (s sessionTimes) look(ctx context.Context, t *trial, isFirst bool) error {
	rows, err := t.pool.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'backfleet coordinator%'", t.name)
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
