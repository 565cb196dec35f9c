package store

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// phaseCounts sums a job's ranges of one phase.
type phaseCounts struct {
	ranges  job.RangeCounts
	walked  int64 // keys passed in ranges that are not done
	rows    int64
	batches int64
	retries int64
	extra   int64 // claims beyond the first
}

func (p *phaseCounts) add(state job.RangeState, n int, rows, walked, batches, retries, extra int64) {
	p.ranges.Add(state, n)
	p.rows, p.batches, p.retries, p.extra = p.rows+rows, p.batches+batches, p.retries+retries, p.extra+extra
	if state != job.Done {
		p.walked += walked
	}
}

// counts reads the sums of every phase: index 0 is the fill, n the n-th verification round.
func (s *Store) counts(ctx context.Context, id job.ID) (map[int]*phaseCounts, error) {
	rows, err := s.pool.Query(ctx, q("counts"), id)
	if err != nil {
		return nil, s.explain("count ranges", err)
	}
	phases := map[int]*phaseCounts{}
	var kind job.Kind
	var state job.RangeState
	var round, n int
	var written, walked, batches, retries, extra int64
	_, err = pgx.ForEachRow(rows, []any{&kind, &round, &state, &n, &written, &walked, &batches, &retries, &extra}, func() error {
		if phases[round] == nil {
			phases[round] = &phaseCounts{}
		}
		phases[round].add(state, n, written, walked, batches, retries, extra)
		return nil
	})
	if err != nil {
		return nil, s.explain("count ranges", err)
	}
	return phases, nil
}

// Status reads what the ledger knows of a job. Rate, lag, limits in force and the stream are the coordinator's to add.
func (s *Store) Status(ctx context.Context, id job.ID) (job.Status, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return job.Status{}, err
	}
	phases, err := s.counts(ctx, id)
	if err != nil {
		return job.Status{}, err
	}
	st := job.Status{
		ID: j.ID, Name: j.Name, Database: j.Database, Table: j.Spec.Table, State: j.State, Reason: j.Reason, Revision: j.Revision,
		Limits: j.Limits, Order: j.Order, Estimate: j.Estimate, EstimateBy: j.EstimateBy, Planned: j.Planned, Round: j.Round,
		By: j.By, Submitted: j.Submitted, Forecast: j.Forecast,
	}
	if !j.Started.IsZero() {
		st.Started = &j.Started
	}
	if !j.Ended.IsZero() {
		st.Ended = &j.Ended
	}
	for _, p := range phases {
		st.Rows += p.rows
		st.Batches += p.batches
		st.Retries += p.retries
	}
	phase := phases[j.Round]
	if phase == nil && !j.Ended.IsZero() {
		phase = phases[0] // a round that had nothing to count made no ranges
	}
	if phase == nil {
		phase = &phaseCounts{}
	}
	st.Ranges = phase.ranges
	st.Fraction = fraction(j, phase)
	if err := s.pool.QueryRow(ctx, q("quarantine_count"), id).Scan(&st.Quarantine); err != nil {
		return st, s.explain("count the quarantine", err)
	}
	if st.Lost, err = s.lost(ctx, id); err != nil {
		return st, err
	}
	st.Workers, err = list(ctx, s, "list running ranges", pgx.RowToStructByPos[job.WorkerOnJob], "running_list", id)
	return st, err
}

// Blocks reads the ranges of a job's present phase in key order, summed up into at most so many cells of about as many ranges each. A job
// without ranges has no cell.
func (s *Store) Blocks(ctx context.Context, id job.ID, cells int) (job.Blocks, error) {
	m := job.Blocks{Cells: []job.RangeCounts{}}
	rows, err := s.pool.Query(ctx, q("range_blocks"), id, cells)
	if err != nil {
		return m, s.explain("sum up ranges", err)
	}
	var cell, n int
	var state job.RangeState
	_, err = pgx.ForEachRow(rows, []any{&cell, &state, &n}, func() error {
		for len(m.Cells) <= cell {
			m.Cells = append(m.Cells, job.RangeCounts{})
		}
		m.Cells[cell].Add(state, n)
		return nil
	})
	if err != nil {
		return m, s.explain("sum up ranges", err)
	}
	return m, nil
}

// fraction is how much of the present phase is done, 0..1, by ranges, with a part of each open one for the keys that were passed.
// Until the plan is whole the total is an estimate; it never reads 1 before the phase ended.
func fraction(j job.Job, p *phaseCounts) float64 {
	if j.State == job.Complete || j.State == job.CompleteWithErrors {
		return 1
	}
	perRange := float64(max(j.Spec.RowsPerRange, 1))
	total := float64(p.ranges.Total)
	if !j.Planned {
		total = math.Max(total, math.Ceil(float64(j.Estimate)/perRange))
	}
	if total == 0 {
		return 0
	}
	ended := float64(p.ranges.Done + p.ranges.Dropped + p.ranges.Skipped)
	open := total - ended
	return math.Min((ended+math.Min(float64(p.walked)/perRange, open))/total, 0.9999)
}
