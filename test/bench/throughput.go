package main

import (
	"context"
	"fmt"
	"time"
)

func throughput(ctx context.Context, b *bench) error {
	return b.versusMonolithic(ctx, "throughput", b.plain(), map[int]float64{1: 0.8, 4: 1.25}, 1, 4)
}

func indexed(ctx context.Context, b *bench) error {
	return b.versusMonolithic(ctx, "indexed", b.indexed(), map[int]float64{4: 1.7}, 4)
}

// versusMonolithic compares fleets of so many worker processes with one UPDATE of the same rows in one transaction.
func (b *bench) versusMonolithic(ctx context.Context, part string, t table, goals map[int]float64, fleets ...int) error {
	var mono series
	filled, verified, batch := map[int]series{}, map[int]series{}, map[int]series{}
	// Whoever runs first creates the WAL files that the others reuse: that is nobody's merit.
	if _, err := b.monolithic(ctx, t); err != nil {
		return err
	}
	for rep := range b.reps {
		rate, err := b.monolithic(ctx, t)
		if err != nil {
			return err
		}
		mono = append(mono, rate)
		b.say("  round %d: monolithic %s rows/s", rep+1, number(rate))
		for _, workers := range fleets {
			o, err := b.backfill(ctx, t, workers)
			if err != nil {
				return err
			}
			filled[workers] = append(filled[workers], o.rate())
			verified[workers] = append(verified[workers], o.verified.Seconds())
			batch[workers] = append(batch[workers], float64(o.rows)/float64(o.batches))
			b.say("  round %d: %d workers %s rows/s, %s rows a batch, verified after %s", rep+1, workers, number(o.rate()),
				number(float64(o.rows)/float64(o.batches)), o.verified.Round(10*time.Millisecond))
		}
	}
	b.add(part, "monolithic UPDATE", "rows/s", mono, nil)
	for _, workers := range fleets {
		name := fmt.Sprintf("%d worker processes", workers)
		if workers == 1 {
			name = "1 worker process"
		}
		b.add(part, name, "rows/s", filled[workers], nil)
		b.add(part, name+", mean batch", "rows", batch[workers], nil)
		b.add(part, name+", submit to verified complete", "s", verified[workers], nil)
		b.add(part, name+" / monolithic", "x", filled[workers].over(mono), atLeast(goals[workers]))
	}
	return nil
}

// monolithic updates all rows in one statement and returns the rate.
func (b *bench) monolithic(ctx context.Context, t table) (float64, error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return 0, err
	}
	defer tr.end(ctx)
	began := time.Now()
	tag, err := tr.pool.Exec(ctx, "UPDATE users SET email_norm = "+set+" WHERE "+where)
	took := time.Since(began)
	if err == nil && tag.RowsAffected() != int64(t.rows) {
		err = fmt.Errorf("the UPDATE wrote %d rows of %d", tag.RowsAffected(), t.rows)
	}
	return float64(t.rows) / took.Seconds(), err
}

// backfill does the same by a fleet of worker processes.
func (b *bench) backfill(ctx context.Context, t table, workers int) (outcome, error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return outcome{}, err
	}
	defer tr.end(ctx)
	if err := tr.fleetOf(workers); err != nil {
		return outcome{}, err
	}
	if err := tr.submit(""); err != nil {
		return outcome{}, err
	}
	return tr.complete(ctx)
}
