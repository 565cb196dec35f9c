package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Recent lists the jobs that have not ended, and the last fifty of those that have, newest first.
func (s *Store) Recent(ctx context.Context) ([]job.Job, error) { return s.jobs(ctx, "jobs_shown") }

// Cells returns one cell for each range of a round in key order, and the index of the first. A plan of 100,000 ranges costs the server
// about a tenth of a second, so ask no more often than people can see.
func (s *Store) Cells(ctx context.Context, id job.ID, round, rowsPerRange int) (first int, cells []job.Cell, err error) {
	var raw []int16
	if err := s.pool.QueryRow(ctx, q("range_cells"), id, round, rowsPerRange).Scan(&first, &raw); err != nil {
		return 0, nil, s.explain("read the map of the ranges", err)
	}
	cells = make([]job.Cell, len(raw))
	for i, c := range raw {
		cells[i] = job.Cell(c)
	}
	return first, cells, nil
}

// Range returns what the ledger knows of one range. The error is ErrNotFound where there is none.
func (s *Store) Range(ctx context.Context, id job.ID, index int) (job.RangeDetail, error) {
	var d job.RangeDetail
	var span ranges.Span
	err := s.pool.QueryRow(ctx, q("range_detail"), id, index).Scan(
		&d.Index, &d.Kind, &d.Round, &d.Relation, (*[]string)(&span.Lo), (*[]string)(&span.Hi), &span.HiClosed, &d.Checkpoint, &d.State,
		&d.Generation, &d.Fence, &d.Owner, &d.LeaseUntil, &d.Attempts, &d.Claims, &d.Rows, &d.Walked, &d.Batches, &d.Retries,
		&d.Residual, &d.CheckFails, &d.Error, &d.Started, &d.Ended, &d.Quarantine)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("range %d: %w", index, ErrNotFound)
	}
	if err != nil {
		return d, s.explain("read a range", err)
	}
	d.Span = span.String()
	return d, nil
}

// History returns a job's samples after a moment, the oldest first, joined to at most so many points.
func (s *Store) History(ctx context.Context, id job.ID, after time.Time, points int) ([]job.Point, error) {
	return list(ctx, s, "read the history", point, "history", id, after, points)
}

// LastPoint returns a job's newest sample, nil where there is none as young as that.
func (s *Store) LastPoint(ctx context.Context, id job.ID, age time.Duration) (*job.Point, error) {
	rows, err := s.pool.Query(ctx, q("last_point"), id, age.Seconds())
	if err != nil {
		return nil, s.explain("read the last sample", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, point)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, s.explain("read the last sample", err)
	}
	return &p, nil
}

func point(row pgx.CollectableRow) (job.Point, error) {
	var p job.Point
	var moment *job.Moment // absent in samples of an older ledger
	err := row.Scan(&p.At, &p.Rows, &p.Rate, &p.Lag, &p.Limiting, &p.Lost, &moment)
	if moment != nil {
		p.Moment = *moment
	}
	return p, err
}

// Sizes returns how large a job's table is with all its partitions, and its indexes.
func (s *Store) Sizes(ctx context.Context, id job.ID) (table, index int64, err error) {
	if err = s.pool.QueryRow(ctx, q("outcome_size"), id).Scan(&table, &index); err != nil {
		err = s.explain("read the table's size", err)
	}
	return table, index, err
}
