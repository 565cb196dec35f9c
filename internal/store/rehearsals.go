package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rehearsal is a drop that is rehearsed, or was. What Target and Undo hold is the business of internal/contract.
type Rehearsal struct {
	ID        int64           `json:"id"`
	Migration string          `json:"migration"`
	Mode      string          `json:"mode"`
	Relation  uint32          `json:"-"`
	Target    json.RawMessage `json:"target"`
	Undo      json.RawMessage `json:"-"`
	Began     time.Time       `json:"began"`
	Until     time.Time       `json:"until"`
	By        string          `json:"by"`
	Ended     *time.Time      `json:"ended,omitempty"`
	EndedBy   string          `json:"ended_by,omitempty"`
}

// BeginRehearsal writes down a rehearsal in the transaction that begins it, and sets its ID and when it began.
func BeginRehearsal(ctx context.Context, tx pgx.Tx, r *Rehearsal) error {
	return tx.QueryRow(ctx, q("rehearsal_begin"), r.Migration, r.Mode, r.Relation, r.Target, r.Undo, r.Until, r.By).Scan(&r.ID, &r.Began)
}

// OpenRehearsal locks the rehearsal that is under way of a migration, or of a relation (0 asks for none); found is false where none is.
func OpenRehearsal(ctx context.Context, tx pgx.Tx, migration string, relation uint32) (r Rehearsal, found bool, err error) {
	r, err = scanRehearsal(tx.QueryRow(ctx, q("rehearsal_open"), migration, relation))
	if errors.Is(err, pgx.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// EndRehearsal writes down its end, in the transaction that ends it.
func EndRehearsal(ctx context.Context, tx pgx.Tx, r *Rehearsal, by string) error {
	r.EndedBy = by
	return tx.QueryRow(ctx, q("rehearsal_end"), r.ID, by).Scan(&r.Ended)
}

// Rehearsals reads those of a migration, the oldest first.
func (s *Store) Rehearsals(ctx context.Context, migration string) ([]Rehearsal, error) {
	return s.rehearsals(ctx, "rehearsal_list", migration)
}

// OverdueRehearsals reads those whose time is over by the database's clock and that nobody has ended.
func (s *Store) OverdueRehearsals(ctx context.Context) ([]Rehearsal, error) {
	return s.rehearsals(ctx, "rehearsal_overdue")
}

func (s *Store) rehearsals(ctx context.Context, name string, args ...any) ([]Rehearsal, error) {
	return list(ctx, s, "read the rehearsals", func(row pgx.CollectableRow) (Rehearsal, error) { return scanRehearsal(row) }, name, args...)
}

func scanRehearsal(row pgx.Row) (r Rehearsal, err error) {
	return r, row.Scan(&r.ID, &r.Migration, &r.Mode, &r.Relation, &r.Target, &r.Undo, &r.Began, &r.Until, &r.By, &r.Ended, &r.EndedBy)
}
