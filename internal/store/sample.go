package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// Sample is a point of a job's history.
type Sample struct {
	Rows int64   // written so far
	Rate float64 // rows a second
	Lag  float64 // of the worst replica, in seconds
	// Limiting is what limits the job now; where something was lost, what it lost the most to since the sample before.
	Limiting string
	Watched  float64 // seconds since the sample before, as far as the governor ran
	Lost     []throttle.Loss
	Moment   job.Moment
}

// limiting is the sample's reason, and the part that was lost to all of them.
func (x Sample) limiting() (signal string, lost float64) {
	if len(x.Lost) == 0 || x.Watched <= 0 {
		return x.Limiting, 0
	}
	for _, l := range x.Lost {
		lost += l.Seconds
	}
	return x.Lost[0].Signal, min(lost/x.Watched, 1)
}

// AddSample keeps a point of a job's history, and adds what was lost to the job's sums.
func (s *Store) AddSample(ctx context.Context, id job.ID, x Sample) error {
	return s.tx(ctx, "sample", func(tx pgx.Tx) error {
		signal, lost := x.limiting()
		if _, err := tx.Exec(ctx, q("sample_insert"), id, x.Rows, x.Rate, x.Lag, signal, lost, jsonb{x.Moment}); err != nil {
			return err
		}
		if x.Watched <= 0 {
			return nil
		}
		signals, seconds := []string{""}, []float64{x.Watched}
		for _, l := range x.Lost {
			signals, seconds = append(signals, l.Signal), append(seconds, l.Seconds)
		}
		_, err := tx.Exec(ctx, q("losses_add"), id, signals, seconds)
		return err
	})
}

// lost reads what a job lost to each reason, the most first.
func (s *Store) lost(ctx context.Context, id job.ID) ([]job.Loss, error) {
	return list(ctx, s, "read the losses", pgx.RowToStructByPos[job.Loss], "losses", id)
}

// outcome is what became of a job's forecast. What the server does not tell is left out: it is no reason to have no report.
func (s *Store) outcome(ctx context.Context, j job.Job, r job.Report) *job.Outcome {
	o := &job.Outcome{Duration: r.Duration, Rows: r.Rows}
	_ = s.tx(ctx, "read the WAL position", func(tx pgx.Tx) error { return tx.QueryRow(ctx, q("outcome_wal"), j.ID).Scan(&o.WAL) })
	if j.Forecast == nil {
		return o
	}
	var heap, index int64
	err := s.tx(ctx, "read the table's size", func(tx pgx.Tx) error { return tx.QueryRow(ctx, q("outcome_size"), j.ID).Scan(&heap, &index) })
	if err == nil {
		heap, index = heap-j.Forecast.HeapSize, index-j.Forecast.IndexSize
		o.Heap, o.Index = &heap, &index
	}
	return o
}
