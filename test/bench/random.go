package main

import "context"

// random is a table whose keys are random, so that the rows lie in another order.
func (b *bench) random() table { return table{template: "random", rows: b.rows / 2, random: true} }

// randomKeys compares the two orders of one fleet over random keys: that of the key, in which each batch goes to random pages, and that of
// the blocks, in one pass and in the passes that `auto` takes.
func randomKeys(ctx context.Context, b *bench) error {
	orders := []muster{
		{name: "4 workers, order: key", workers: 4, more: "order: key\n"},
		{name: "4 workers, order: block", workers: 4, more: "order: block\n", goal: 1.5},
		{name: "4 workers, order: block, one pass", workers: 4, more: "order: block\nbatch: {passes: 1}\n"},
		{name: "4 workers, order: block, 2 passes", workers: 4, more: "order: block\nbatch: {passes: 2}\n"},
		{name: "1 worker, order: key", workers: 1, more: "order: key\n"},
		{name: "1 worker, order: block", workers: 1, more: "order: block\n", goal: 1.5},
	}
	const part = "random"
	each := make([]measured, len(orders))
	for rep := range b.reps {
		for i, c := range orders {
			o, toll, err := b.backfill(ctx, b.random(), c)
			if err != nil {
				return err
			}
			m := &each[i]
			m.rate, m.toll = append(m.rate, o.rate()), append(m.toll, toll)
			m.verified, m.batch = append(m.verified, o.verified.Seconds()), append(m.batch, float64(o.rows)/float64(o.batches))
			b.say("  round %d: %s %s rows/s, %s rows a batch, verified after %s, %s", rep+1, c.name, number(o.rate()),
				number(float64(o.rows)/float64(o.batches)), o.verified.Round(1e7), toll)
		}
	}
	for i, c := range orders {
		m := each[i]
		b.add(part, c.name, "rows/s", m.rate, nil)
		b.add(part, c.name+", mean batch", "rows", m.batch, nil)
		b.add(part, c.name+", submit to verified complete", "s", m.verified, nil)
		b.addToll(part, c.name, m.toll)
		byKey := each[0]
		if c.workers == 1 {
			byKey = each[4]
		}
		if c.goal > 0 {
			b.add(part, c.name+" / order: key", "x", m.rate.over(byKey.rate), atLeast(c.goal))
		} else if i > 0 && i != 4 {
			b.add(part, c.name+" / order: key", "x", m.rate.over(byKey.rate), nil)
		}
	}
	return nil
}
