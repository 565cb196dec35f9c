package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/test/bench/compare"
	"github.com/backfleet/backfleet/test/harness"
)

// meters are what has been used so far: a trial's cost is the difference of two readings.
type meters struct {
	cpu compare.CPU
	wal int64 // position in the WAL
}

// read takes the meters of the trial's servers and of its fleet.
func (t *trial) read(ctx context.Context) (m meters, err error) {
	if err := t.pool.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&m.wal); err != nil {
		return m, err
	}
	if m.cpu.Server, err = serverTime(t.cluster.Primary); err != nil {
		return m, err
	}
	for _, s := range t.cluster.Standbys {
		used, err := serverTime(s)
		if err != nil {
			return m, err
		}
		m.cpu.Standby += used
	}
	for i, p := range t.fleet { // the coordinator is the first
		used := processorTime(p.PID()).Seconds()
		if i == 0 {
			m.cpu.Coordinator = used
		} else {
			m.cpu.Client += used
		}
	}
	m.cpu.NATS = processorTime(t.nats.Process().PID()).Seconds()
	return m, nil
}

// since is what was used between two readings.
func (m meters) since(before meters) (compare.CPU, int64) {
	a, b := m.cpu, before.cpu
	return compare.CPU{
		Server: a.Server - b.Server, Client: a.Client - b.Client, Standby: a.Standby - b.Standby,
		Coordinator: a.Coordinator - b.Coordinator, NATS: a.NATS - b.NATS,
	}, m.wal - before.wal
}

// serverTime is the processor time in seconds of all of a PostgreSQL server's processes, those that have ended too.
func serverTime(s *harness.Server) (float64, error) {
	pid, err := postmaster(s)
	if err != nil {
		return 0, err
	}
	// The living first: one that ends in between is then counted twice and not lost, and either is less than a session's last moment.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	total := processorTime(pid)
	for _, field := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read the server's processes: %w", err)
		}
		total += processorTime(child)
	}
	ended, err := endedChildren(pid)
	return (total + ended).Seconds(), err
}

func postmaster(s *harness.Server) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(s.DataDir(), "postmaster.pid"))
	if err == nil {
		pid, err = strconv.Atoi(firstLine(string(text)))
	}
	if err != nil {
		return 0, fmt.Errorf("find the server's process: %w", err)
	}
	return pid, nil
}

// endedChildren is the processor time of a process's children that have ended.
func endedChildren(pid int) (time.Duration, error) {
	const ticks = 100           // a second, on every Linux there is
	const user, system = 13, 14 // of the children, counted after the name's parenthesis
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	if len(fields) <= system {
		return 0, fmt.Errorf("read the server's processor time: %q", stat)
	}
	total := 0
	for _, f := range []int{user, system} {
		n, err := strconv.Atoi(fields[f])
		if err != nil {
			return 0, fmt.Errorf("read the server's processor time: %w", err)
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticks, nil
}

// sizes are the bytes of the table's heap and of its indexes.
func (t *trial) sizes(ctx context.Context) (heap, indexes int64, err error) {
	err = t.pool.QueryRow(ctx, "SELECT pg_relation_size('users'), pg_indexes_size('users')").Scan(&heap, &indexes)
	return heap, indexes, err
}

// count reads what the update has done: the rows that have their value, and the row versions written, of which some were HOT. A value that
// is not the right one is an error. The sessions that wrote must have ended, or their counts are not all there.
func (t *trial) count(ctx context.Context, column string) (done, updates, hot int64, err error) {
	var wrong int64
	err = errors.Join(
		t.pool.QueryRow(ctx, fmt.Sprintf("SELECT count(%[1]s), count(*) FILTER (WHERE %[1]s <> %[2]s) FROM users", column, set)).Scan(&done, &wrong),
		t.pool.QueryRow(ctx, "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'users'").Scan(&updates, &hot))
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d of %d rows have a wrong value", wrong, done)
	}
	return done, updates, hot, err
}
