package main

import (
	"context"
	"fmt"
	"time"
)

// proofRows is of the uuid table: its key's order has nothing to do with the heap's.
const proofRows = 1_000_000

// walks are the two ways to prove a job.
var walks = []struct{ name, setting string }{{"by key", "verify.snapshot=0"}, {"by block", "verify.snapshot=10m"}}

// proof measures what a fleet of four workers needs from the end of the last range to `complete`, and then proves the same job again
// and again, by key and by block in turns, on tables whose key is in the heap's order and not, with and without a check.
func proof(ctx context.Context, b *bench) error {
	uuid := table{template: "uuid", rows: min(b.rows, proofRows), uuid: true}
	for _, c := range []struct {
		name, more string
		table      table
		limit      bool
	}{
		{"primary key only", "", b.plain(), true},
		{"three indexes", "", b.indexed(), true},
		{"uuid key", "", uuid, false},
		{"uuid key, with a check", "check: email_norm IS NOT DISTINCT FROM lower(email)\n", uuid, false},
		{"primary key only, with a check", "check: email_norm IS NOT DISTINCT FROM lower(email)\n", b.plain(), false},
	} {
		if err := b.proofOf(ctx, c.name, c.table, c.more, c.limit); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (b *bench) proofOf(ctx context.Context, name string, t table, more string, limit bool) error {
	var whole, tail, key, block series
	for rep := range b.reps {
		r, err := b.proofRound(ctx, t, more)
		if err != nil {
			return err
		}
		whole, tail = append(whole, r.whole), append(tail, r.tail)
		key, block = append(key, r.again[0]...), append(block, r.again[1]...)
		b.say("  %s, round %d: complete at %.2f of the update's %.2f s, %.2f s after it; again by key %.2f s, by block %.2f s", name, rep+1, r.whole, r.filled, r.tail,
			series(r.again[0]).median(), series(r.again[1]).median())
	}
	var most *goal
	if limit {
		most = atMost(1.15)
	}
	b.add("proof", name+": verified complete / the update alone", "x", whole, most)
	b.add("proof", name+": after the last range's end", "s", tail, nil)
	b.add("proof", name+": again, by key", "s", key, nil)
	b.add("proof", name+": again, by block", "s", block, nil)
	b.add("proof", name+": by block / by key", "x", block.over(key), nil)
	return nil
}

// proven is what one copy of a table gave: the time to `complete` by that to the end of the last range, what lies between them, and the
// times of more proofs by each walk.
type proven struct {
	filled, whole, tail float64
	again               [2][]float64
}

func (b *bench) proofRound(ctx context.Context, t table, more string) (p proven, err error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return p, err
	}
	defer tr.end(ctx)
	if err := tr.fleetOf(4); err != nil {
		return p, err
	}
	if err := tr.submit(alone + more); err != nil {
		return p, err
	}
	o, err := tr.complete(ctx)
	if err != nil {
		return p, err
	}
	p.filled = o.filled.Seconds()
	err = tr.pool.QueryRow(ctx, `SELECT extract(epoch FROM j.ended_at - f.ended)::float8
		FROM backfleet.jobs j, (SELECT max(ended_at) AS ended FROM backfleet.ranges WHERE kind = 'fill') f`).Scan(&p.tail)
	if err != nil {
		return p, err
	}
	p.whole = (p.filled + p.tail) / p.filled
	for range 2 {
		for i, w := range walks {
			took, err := tr.proveAgain(ctx, w.setting)
			if err != nil {
				return p, fmt.Errorf("%s: %w", w.name, err)
			}
			p.again[i] = append(p.again[i], took.Seconds())
		}
	}
	return p, nil
}

// proveAgain verifies the job that has ended once more, and returns the time from the request to its end.
func (t *trial) proveAgain(ctx context.Context, setting string) (time.Duration, error) {
	if err := t.command(t.dsn(), "set", t.name, setting); err != nil {
		return 0, err
	}
	if err := t.command(t.dsn(), "verify", t.name); err != nil {
		return 0, err
	}
	if _, err := t.complete(ctx); err != nil {
		return 0, err
	}
	var took float64
	err := t.pool.QueryRow(ctx, `SELECT extract(epoch FROM j.ended_at - (SELECT max(at) FROM backfleet.events WHERE action = 'verify'))::float8
		FROM backfleet.jobs j`).Scan(&took)
	return seconds(took), err
}
