package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// promise says what "exactly once" covers.
const promise = "Each row visible to its batch, whose key did not change, was updated exactly once, up to the frozen bound; " +
	"rows inserted later belong to dual-write."

// blockPromise is that of a job in block order.
const blockPromise = "Each row that matched `where` was updated exactly once, for it matches no longer; the whole table was looked at in one snapshot after that. " +
	"Rows inserted later belong to dual-write."

// spanPage is how many ranges a coverage check reads at once.
const spanPage = 20_000

// Report returns a job's report: the stored one once it has ended, else one of this moment.
func (s *Store) Report(ctx context.Context, id job.ID) (job.Report, error) {
	var stored []byte
	if err := s.pool.QueryRow(ctx, "select report from backfleet.jobs where id = $1 and state in ('complete', 'complete_with_errors', 'failed')", id).Scan(&stored); err == nil && stored != nil {
		var r job.Report
		if err := json.Unmarshal(stored, &r); err != nil {
			return r, fmt.Errorf("the stored report: %w", err)
		}
		r.Events, err = s.Events(ctx, id, 1000)
		return r, err
	}
	return s.BuildReport(ctx, id)
}

// BuildReport reads a report of this moment from the ledger. Verified is left to the verifier, which alone knows the outcome of the
// last round and of the replicas.
func (s *Store) BuildReport(ctx context.Context, id job.ID) (job.Report, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return job.Report{}, err
	}
	r := job.Report{
		Job: j.ID, Name: j.Name, Database: j.Database, Table: j.Spec.Table, State: j.State, Reason: j.Reason, SpecHash: j.SpecHash, Order: j.Order, LastLook: j.LastLook,
		Rounds: j.Round, Submitted: j.Submitted, Promise: promise, Quarantined: []job.Quarantined{},
	}
	if j.Order == job.OrderBlock {
		r.Promise = blockPromise
	}
	end := time.Now()
	if !j.Ended.IsZero() {
		r.Ended, end = &j.Ended, j.Ended
	}
	if !j.Started.IsZero() {
		r.Started = &j.Started
		r.Duration = job.Duration(end.Sub(j.Started).Round(time.Millisecond))
	}
	phases, err := s.counts(ctx, id)
	if err != nil {
		return r, err
	}
	for round, p := range phases {
		r.Rows += p.rows
		r.Batches += p.batches
		r.Retries += p.retries
		r.Takeovers += p.extra
		if round > 0 {
			r.Repaired += p.rows
		}
	}
	if seconds := r.Duration.D().Seconds(); seconds > 0 {
		r.RowsPerSec = float64(r.Rows) / seconds
	}
	if j.Round > 0 {
		res, err := s.RoundResult(ctx, id, j.Round)
		if err != nil {
			return r, err
		}
		if look := j.LastLook; look != nil && look.Round == j.Round { // it is the last word
			res.Residual, res.CheckFails, res.Failing = look.Residual, look.CheckFails, look.Failing
		}
		if j.Spec.Where != "" {
			r.Residual = &res.Residual
		}
		if j.Spec.Check != "" {
			r.CheckFails = &res.CheckFails
		}
		r.Samples = res.Failing
	}
	if r.Coverage, r.Dropped, err = s.coverage(ctx, id); err != nil {
		return r, err
	}
	if r.Quarantined, err = s.Quarantine(ctx, id, 1000); err != nil {
		return r, err
	}
	if r.Skipped, err = s.skipped(ctx, id); err != nil {
		return r, err
	}
	if r.Workers, err = s.workerTotals(ctx, id); err != nil {
		return r, err
	}
	if r.Lost, err = s.lost(ctx, id); err != nil {
		return r, err
	}
	if r.Forecast = j.Forecast; r.Started != nil {
		r.Outcome = s.outcome(ctx, j, r)
	}
	r.Events, err = s.Events(ctx, id, 1000)
	return r, err
}

// coverage proves, relation by relation, that the ranges tile the key space up to the frozen bound and that each is at its end. It
// reads the ledger in pages, so a plan of any length fits in memory.
func (s *Store) coverage(ctx context.Context, id job.ID) (cover []job.Coverage, dropped []string, err error) {
	rels, err := s.Relations(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	tilings := map[uint32]*ranges.Tiling{}
	for _, rel := range rels {
		if rel.Dropped {
			dropped = append(dropped, rel.Name)
			continue
		}
		tilings[rel.OID] = ranges.NewTiling(rel.Bound)
	}
	notDone := map[uint32][]string{}
	var rel uint32
	var state job.RangeState
	var short bool
	var lo, hi []string
	var closed bool
	after := -1
	for {
		rows, err := s.pool.Query(ctx, q("spans"), id, after, spanPage)
		if err != nil {
			return nil, nil, s.explain("read the ranges", err)
		}
		n := 0
		_, err = pgx.ForEachRow(rows, []any{&after, &rel, &lo, &hi, &closed, &state, &short}, func() error {
			n++
			span := ranges.Span{Lo: lo, Hi: hi, HiClosed: closed}
			lo, hi = nil, nil
			t := tilings[rel]
			if t == nil {
				return nil
			}
			t.Add(span)
			if state != job.Done && state != job.RangeExcluded || short { // what a person took out is listed by itself
				if len(notDone[rel]) < 10 {
					notDone[rel] = append(notDone[rel], fmt.Sprintf("%s is %s", span, state))
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, s.explain("read the ranges", err)
		}
		if n < spanPage {
			break
		}
	}
	for _, rel := range rels {
		if t := tilings[rel.OID]; t != nil {
			cover = append(cover, job.Coverage{Relation: rel.Name, Ranges: t.Len(), Bound: rel.Bound, Gaps: append(t.Gaps(), notDone[rel.OID]...)})
		}
	}
	return cover, dropped, nil
}

// Quarantine lists a job's rows that were set aside.
func (s *Store) Quarantine(ctx context.Context, id job.ID, limit int) ([]job.Quarantined, error) {
	return list(ctx, s, "list the quarantine", func(row pgx.CollectableRow) (job.Quarantined, error) {
		var x job.Quarantined
		err := row.Scan(&x.Relation, (*[]string)(&x.Key), &x.SQLState, &x.Error, &x.Attempts, &x.By)
		return x, err
	}, "quarantine_list", id, limit)
}

func (s *Store) skipped(ctx context.Context, id job.ID) ([]ranges.Span, error) {
	return list(ctx, s, "list skipped ranges", func(row pgx.CollectableRow) (ranges.Span, error) {
		var x ranges.Span
		err := row.Scan((*[]string)(&x.Lo), (*[]string)(&x.Hi), &x.HiClosed)
		return x, err
	}, "skipped_list", id)
}

func (s *Store) workerTotals(ctx context.Context, id job.ID) ([]job.WorkerTotal, error) {
	return list(ctx, s, "sum up the workers", pgx.RowToStructByPos[job.WorkerTotal], "worker_totals", id)
}

// FailedRanges lists a few ranges that were given up, with their errors.
func (s *Store) FailedRanges(ctx context.Context, id job.ID) ([]string, error) {
	return list(ctx, s, "list failed ranges", func(row pgx.CollectableRow) (string, error) {
		var i int
		var text string
		err := row.Scan(&i, &text)
		return fmt.Sprintf("range %d: %s", i, text), err
	}, "failed_list", id)
}

// Events lists the audit log of a job, newest first, with the holds of its database.
func (s *Store) Events(ctx context.Context, id job.ID, limit int) ([]job.Event, error) {
	return list(ctx, s, "read the audit log", pgx.RowToStructByPos[job.Event], "events", id, limit)
}
