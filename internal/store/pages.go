package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// ErrBadCursor says that a cursor is none that a page ended with.
var ErrBadCursor = errors.New("this is no cursor of such a list")

// JobsBefore lists jobs, the newest first: those older than one of them, or from the newest on for "". open leaves out those that have
// ended.
func (s *Store) JobsBefore(ctx context.Context, before job.ID, open bool, limit int) ([]job.Job, error) {
	return s.jobs(ctx, "jobs_page", before, open, limit)
}

// RangesAfter lists the ranges of a job in the order of their index, those behind one of them; -1 is before the first. state may be
// empty for any.
func (s *Store) RangesAfter(ctx context.Context, id job.ID, after int, state job.RangeState, limit int) ([]job.RangeView, error) {
	return list(ctx, s, "list the ranges", func(row pgx.CollectableRow) (job.RangeView, error) {
		var r job.RangeView
		err := row.Scan(&r.Index, &r.Kind, &r.Round, &r.Relation, (*[]string)(&r.Lo), (*[]string)(&r.Hi), &r.HiClosed, (*[]string)(&r.Key), &r.State,
			&r.Attempts, &r.Takeovers, &r.Owner, &r.LeaseUntil, &r.Rows, &r.Walked, &r.Batches, &r.Retries, &r.Residual, &r.CheckFails, &r.Error,
			&r.Started, &r.Ended)
		return r, err
	}, "ranges_page", id, after, state, limit)
}

// EventsBefore lists the audit log of a job with the holds of its database, the newest first: what is older than one event, or all for 0.
// action may be empty for any.
func (s *Store) EventsBefore(ctx context.Context, id job.ID, before int64, action string, limit int) ([]job.Event, error) {
	return s.events(ctx, "events_page", id, before, action, limit)
}

// DatabaseEvents lists the audit log of a database with all of its jobs, as EventsBefore does.
func (s *Store) DatabaseEvents(ctx context.Context, before int64, action string, limit int) ([]job.Event, error) {
	return s.events(ctx, "events_database", before, action, limit)
}

func (s *Store) events(ctx context.Context, name string, args ...any) ([]job.Event, error) {
	return list(ctx, s, "read the audit log", pgx.RowToStructByPos[job.Event], name, args...)
}

// rowCursor is where a page of the quarantine ended.
type rowCursor struct {
	Relation uint32   `json:"r"`
	Key      []string `json:"k"`
}

// QuarantineAfter lists the rows that a job set aside, from where a page before ended; "" is the begin. next is empty at the end.
func (s *Store) QuarantineAfter(ctx context.Context, id job.ID, after string, limit int) (page []job.Quarantined, next string, err error) {
	var at rowCursor
	if after != "" {
		raw, err := base64.RawURLEncoding.DecodeString(after)
		if err != nil || json.Unmarshal(raw, &at) != nil {
			return nil, "", ErrBadCursor
		}
	}
	var relations []uint32
	page, err = list(ctx, s, "list the quarantine", func(row pgx.CollectableRow) (job.Quarantined, error) {
		var x job.Quarantined
		var relation uint32
		err := row.Scan(&relation, &x.Relation, (*[]string)(&x.Key), &x.SQLState, &x.Error, &x.Attempts, &x.By, &x.At, &x.Range)
		relations = append(relations, relation)
		return x, err
	}, "quarantine_page", id, at.Relation, at.Key, limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(page) <= limit {
		return page, "", nil
	}
	raw, err := json.Marshal(rowCursor{relations[limit-1], page[limit-1].Key})
	return page[:limit], base64.RawURLEncoding.EncodeToString(raw), err
}
