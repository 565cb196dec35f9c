package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/test/harness"
)

const scaleRanges = 100_000

// scale plans and publishes 100,000 ranges while backfleet.hold() keeps every batch back, so that all of them wait in the stream,
// and then looks at the memory of the processes. Then it lets the fleet work for a while and looks again.
func scale(ctx context.Context, b *bench) error {
	var published, coordinator, worker, later, laterWorker, nats series
	for rep := range b.reps {
		s, err := b.scaleRound(ctx)
		if err != nil {
			return err
		}
		published = append(published, s.published.Seconds())
		coordinator, worker, nats = append(coordinator, s.coordinator), append(worker, s.worker), append(nats, s.nats)
		later, laterWorker = append(later, s.coordinatorAtWork), append(laterWorker, s.workerAtWork)
		b.say("  round %d: %s; coordinator %.0f MB, worker %.0f MB, NATS server %.0f MB", rep+1, s.published.Round(10*time.Millisecond),
			s.coordinator, s.worker, s.nats)
	}
	b.add("scale", "submit to 100,000 ranges in the stream", "s", published, atMost(30))
	b.add("scale", "coordinator's highest resident memory", "MB", coordinator, atMost(100))
	b.add("scale", "worker's highest resident memory", "MB", worker, atMost(100))
	b.add("scale", "coordinator's, after 5 s of batches", "MB", later, atMost(100))
	b.add("scale", "worker's, after 5 s of batches", "MB", laterWorker, atMost(100))
	b.add("scale", "NATS server's resident memory", "MB", nats, nil)
	return nil
}

type scaled struct {
	published                       time.Duration
	coordinator, worker, nats       float64 // MB
	coordinatorAtWork, workerAtWork float64
}

func (b *bench) scaleRound(ctx context.Context) (s scaled, err error) {
	rowsPerRange := b.rows / scaleRanges
	if rowsPerRange < 1 {
		return s, fmt.Errorf("%d rows do not make %d ranges", b.rows, scaleRanges)
	}
	tr, err := b.fresh(ctx, b.plain())
	if err != nil {
		return s, err
	}
	defer tr.end(ctx)
	coordinator, err := tr.coordinate()
	if err != nil {
		return s, err
	}
	worker, err := tr.work("worker1", 4)
	if err != nil {
		return s, err
	}
	if _, err := tr.pool.Exec(ctx, "SELECT backfleet.hold('10 minutes')"); err != nil {
		return s, err
	}
	if err := tr.submit(fmt.Sprintf("rows_per_range: %d\n", rowsPerRange)); err != nil {
		return s, err
	}
	began := time.Now()
	if err := tr.awaitStream(ctx, scaleRanges); err != nil {
		return s, err
	}
	s.published = time.Since(began)
	if err := sleep(ctx, time.Second); err != nil { // the last publishes, and what a held fleet does
		return s, err
	}
	if s.coordinator, err = resident(coordinator, "VmHWM"); err != nil {
		return s, err
	}
	if s.worker, err = resident(worker, "VmHWM"); err != nil {
		return s, err
	}
	if s.nats, err = resident(tr.nats.Process(), "VmRSS"); err != nil {
		return s, err
	}
	if _, err := tr.pool.Exec(ctx, "SELECT backfleet.release()"); err != nil {
		return s, err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return s, err
	}
	if s.coordinatorAtWork, err = resident(coordinator, "VmHWM"); err != nil {
		return s, err
	}
	if s.workerAtWork, err = resident(worker, "VmHWM"); err != nil {
		return s, err
	}
	return s, tr.command(tr.dsn(), "cancel", tr.name)
}

// awaitStream waits until the job's consumer has so many messages.
func (t *trial) awaitStream(ctx context.Context, messages uint64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := queue.Connect(ctx, queue.Options{URL: t.nats.URL(), Name: "bench", Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		lag, err := conn.Lag(ctx, "main", t.name)
		if err == nil && lag.Pending+uint64(lag.AckPending) >= messages {
			return nil
		}
		if serr := sleep(ctx, pollJob); serr != nil {
			return fmt.Errorf("wait for %d messages; there are %d: %w", messages, lag.Pending, errors.Join(serr, err))
		}
	}
}

// resident reads a process's memory in MB.
func resident(p *harness.Process, field string) (float64, error) { return memoryOf(p.PID(), field) }

// memoryOf reads a field of a process's memory in MB.
func memoryOf(pid int, field string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}
