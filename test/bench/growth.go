package main

import (
	"context"
	"fmt"
)

// growth measures what a bound of the table's growth costs, and what it saves: in key order and in passes, with and without it. The
// cluster has no autovacuum, so every vacuum is the fleet's.
func growth(ctx context.Context, b *bench) error {
	for _, t := range []table{b.plain(), b.indexed()} {
		if err := b.growthOf(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) growthOf(ctx context.Context, t table) error {
	ways := []muster{
		{name: "key order", workers: 4, more: "batch: {passes: 1}\n"},
		{name: "key order, max_growth 1.3", workers: 4, more: "batch: {passes: 1}\n"},
		{name: "4 passes", workers: 4, more: "batch: {passes: 4}\n"},
		{name: "4 passes, max_growth 1.3", workers: 4, more: "batch: {passes: 4}\n"},
	}
	rates, grown := make([]series, len(ways)), make([]series, len(ways))
	for rep := range b.reps {
		for i, w := range ways {
			spec := w.more
			if i%2 == 1 {
				spec += bounded
			} else {
				spec += alone
			}
			o, toll, err := b.fill(ctx, t, w.workers, spec)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", t.template, w.name, err)
			}
			rates[i], grown[i] = append(rates[i], o.rate()), append(grown[i], toll.growth)
			b.say("  %s, round %d: %s %s rows/s, heap x%.3f", t.template, rep+1, w.name, number(o.rate()), toll.growth)
		}
	}
	for i, w := range ways {
		name := t.template + ", " + w.name
		b.add("growth", name, "rows/s", rates[i], nil)
		var most *goal
		if i%2 == 1 {
			most = atMost(1.3)
		}
		b.add("growth", name+", heap after / before", "x", grown[i], most)
	}
	b.add("growth", t.template+", key order: with the bound / without", "x", rates[1].over(rates[0]), nil)
	b.add("growth", t.template+", 4 passes: with the bound / without", "x", rates[3].over(rates[2]), nil)
	return nil
}

// bounded is alone with a bound of growth. A vacuum on the table would slow the fleet beside an application: here there is none.
const bounded = "throttle: {max_growth: 1.3, signals: {probe: off, active_backends: off}}\n"
