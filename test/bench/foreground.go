package main

import "context"

// foregroundReps is the least number of rounds: a p99 under load is the noisiest figure of all.
const foregroundReps = 5

// foreground compares what an application of 8 clients feels while Backfleet works under its defaults, while the usual script does,
// and while nobody does. Script and fleet commit alike: synchronous_commit = on, which is the script's own.
func foreground(ctx context.Context, b *bench) error {
	nothing := contender{"no backfill", func(context.Context, *trial) (func() error, error) { return func() error { return nil }, nil }}
	fleet := fleetContender("backfleet", 4, "batch: {synchronous_commit: 'on'}\n")
	felt, err := b.contend(ctx, max(b.reps, foregroundReps), true, nothing, usual, fleet)
	if err != nil {
		return err
	}
	rate := func(p pressed) float64 { return p.rate }
	latencies := []struct {
		name string
		of   func(pressed) float64
		held bool
	}{
		{"update p50", func(p pressed) float64 { return p.p50 }, false},
		{"update p99", func(p pressed) float64 { return p.p99 }, true},
		{"read p99", func(p pressed) float64 { return p.readP99 }, true},
	}
	for _, c := range []contender{nothing, usual, fleet} {
		if c.name != nothing.name {
			b.add("foreground", c.name, "rows/s", of(felt[c.name], rate), nil)
		}
		for _, l := range latencies {
			b.add("foreground", c.name+", "+l.name, "ms", of(felt[c.name], l.of), nil)
		}
	}
	b.add("foreground", "rate of backfleet / script", "x", of(felt[fleet.name], rate).over(of(felt[usual.name], rate)), atLeast(2))
	for _, l := range latencies {
		if l.held {
			b.add("foreground", l.name+" of backfleet / script", "x", of(felt[fleet.name], l.of).over(of(felt[usual.name], l.of)), atMost(1))
		}
	}
	return nil
}
