package main

import (
	"context"
	"errors"
	"time"
)

// prove counts in the table itself what the report claims.
func (d *demo) prove(ctx context.Context) error {
	stats := d.traffic.Stop()
	say("The proof, counted in the table itself:")
	var once, wrong, inserted, twice, differ int64
	err := d.pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE id <= $1 AND touched = 1),
		       count(*) FILTER (WHERE id <= $1 AND touched <> 1),
		       count(*) FILTER (WHERE id > $1),
		       count(*) FILTER (WHERE touched > 1),
		       count(*) FILTER (WHERE path_norm IS DISTINCT FROM lower(path))
		FROM public.files`, d.loaded).Scan(&once, &wrong, &inserted, &twice, &differ)
	if err != nil {
		return err
	}
	note("%12s  rows were there at the start; updated exactly once: %s", thousands(d.loaded), thousands(once))
	note("%12s  of them not exactly once", thousands(wrong))
	note("%12s  rows in the whole table updated twice or more", thousands(twice))
	note("%12s  rows whose path_norm is not lower(path), live writes included", thousands(differ))
	note("%12s  rows inserted by live traffic meanwhile", thousands(inserted))
	say("OLTP traffic: %s operations, %d errors; p99 %s before, %s during (p50 %s and %s).",
		thousands(stats.All.Done), stats.All.Errors, round(d.calm.All.P99), round(stats.All.P99),
		round(d.calm.All.P50), round(stats.All.P50))
	if wrong != 0 || twice != 0 || differ != 0 || once != d.loaded {
		return errors.New("the proof FAILED: rows were missed, or updated more than once")
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
