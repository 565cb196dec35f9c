package main

import (
	"context"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// random is a table whose keys are random, so that the rows lie in another order.
func (b *bench) random() table { return table{template: "random", rows: b.rows / 2, shape: uuidKey} }

// inKeyOrder is what each of the fleets of randomKeys is held against: one of as many workers in the order of the key.
var inKeyOrder = map[int]int{4: 0, 1: 4}

// randomKeys compares the two orders of one fleet over random keys: that of the key, in which each batch goes to random pages, and that of
// the blocks, in one pass and in several. It does so twice: where the whole table is in memory and no checkpoint comes, so that no page is read,
// and each is written to the WAL as a whole once; and where the server's memory and what it may write between two checkpoints are less than
// the table, as they are of the tables that one backfills by a fleet.
func randomKeys(ctx context.Context, b *bench) error {
	small, err := b.start(harness.WithSetting("shared_buffers", "16MB"), harness.WithSetting("max_wal_size", "48MB"), harness.WithSetting("min_wal_size", "32MB"))
	if err != nil {
		return err
	}
	large := b.cluster
	defer func() { b.cluster = large }()
	for part, cluster := range map[string]*harness.Cluster{"random": small, "random-cached": large} {
		b.cluster = cluster
		if err := b.orders(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// orders compares the orders on the bench's present cluster.
func (b *bench) orders(ctx context.Context, part string) error {
	fleets := []muster{
		{name: "4 workers, order: key", workers: 4, more: "order: key\n"},
		{name: "4 workers, order: block", workers: 4, more: "order: block\n"},
		{name: "4 workers, order: block, 2 passes", workers: 4, more: "order: block\nbatch: {passes: 2}\n"},
		{name: "4 workers, order: block, one pass", workers: 4, more: "order: block\nbatch: {passes: 1}\n"},
		{name: "1 worker, order: key", workers: 1, more: "order: key\n"},
		{name: "1 worker, order: block", workers: 1, more: "order: block\n"},
	}
	each := make([]measured, len(fleets))
	for rep := range b.reps {
		for i, c := range fleets {
			o, toll, err := b.backfill(ctx, b.random(), c)
			if err != nil {
				return err
			}
			m := &each[i]
			m.rate, m.toll = append(m.rate, o.rate()), append(m.toll, toll)
			m.verified = append(m.verified, o.verified.Seconds())
			b.say("  %s, round %d: %s %s rows/s, verified after %s, %s", part, rep+1, c.name, number(o.rate()), o.verified.Round(10*time.Millisecond), toll)
		}
	}
	for i, c := range fleets {
		m := each[i]
		b.add(part, c.name, "rows/s", m.rate, nil)
		b.add(part, c.name+", submit to verified complete", "s", m.verified, nil)
		b.addToll(part, c.name, m.toll)
		if key := inKeyOrder[c.workers]; i != key {
			var least *goal
			if part == "random" && c.name == "4 workers, order: block" {
				least = atLeast(1.5)
			}
			b.add(part, c.name+" / order: key", "x", m.rate.over(each[key].rate), least)
		}
	}
	return nil
}
