package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	calmShare = 0.15 // of all cores' time, at most, in use by others
	calmLook  = 500 * time.Millisecond
)

// calm waits until the rest of the machine is quiet, so that a trial does not pay for a neighbour. It gives up after calmFor,
// and says so: the trials of a round still stand side by side.
func (b *bench) calm(ctx context.Context) error {
	deadline := time.Now().Add(b.calmFor)
	for b.calmFor > 0 {
		busy, err := inUse(ctx)
		if err != nil {
			return err
		}
		if busy <= calmShare {
			return nil
		}
		if time.Now().After(deadline) {
			b.say("  the machine is not calm: %.0f %% in use by others", 100*busy)
			return nil
		}
	}
	return nil
}

// inUse measures the share of all cores' time that is used while this program does nothing.
func inUse(ctx context.Context) (float64, error) {
	busy, all, err := processorTimes()
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, calmLook); err != nil {
		return 0, err
	}
	busyThen, allThen, err := processorTimes()
	return (busyThen - busy) / max(1, allThen-all), err
}

// processorTimes reads the first line of /proc/stat: user, nice, system, idle, iowait and so on, in ticks.
func processorTimes() (busy, all float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		var ticks float64
		if _, err := fmt.Sscan(field, &ticks); err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		all += ticks
		if i != 3 && i != 4 {
			busy += ticks
		}
	}
	return busy, all, nil
}
