package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// GrowthBase makes sure that the size of a job's relations at the freeze is known: where it is not, that of now counts.
func (l *Leader) GrowthBase(ctx context.Context, id job.ID) error {
	return l.tx(ctx, "growth", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("growth_base"), id)
		return err
	})
}

// HeapSizes reads the bytes of the heaps of a job's relations, at the freeze and now, and the rows in them as the statistics have it; 0 where
// they do not. Relations that are gone do not count.
func (s *Store) HeapSizes(ctx context.Context, id job.ID) (base, size, rows float64, err error) {
	if err := s.pool.QueryRow(ctx, q("growth_sizes"), id).Scan(&base, &size, &rows); err != nil {
		return 0, 0, 0, s.explain("read the sizes of the relations", err)
	}
	return base, size, rows, nil
}

// Vacuuming is what vacuum means for one relation.
type Vacuuming struct {
	Relation uint32
	Name     string     // qualified and quoted
	Dead     int64      // rows, as the statistics have it
	Auto     *float64   // dead rows at which autovacuum comes; nil: it never does
	Last     *time.Time // when a vacuum last ended; nil: none did
	May      bool       // this role may vacuum it
	Phase    string     // of the one under way; empty: there is none
	Done     float64    // the part of the heap that it has scanned
	ByAuto   bool       // it is autovacuum's
	Grown    int64      // bytes since the freeze
}

// Vacuumings reads what vacuum means for each of a job's relations, those that have grown most first.
func (s *Store) Vacuumings(ctx context.Context, id job.ID) ([]Vacuuming, error) {
	return list(ctx, s, "read the state of vacuum", pgx.RowToStructByPos[Vacuuming], "growth_tables", id)
}

// Horizon is how far back snapshots keep dead rows. Transactions are counted without wrap-around.
type Horizon struct {
	Next int64  // the next transaction
	Held int64  // the oldest that somebody keeps dead rows for; 0: nobody does
	Who  string // keeps them
}

// Horizon reads how far back snapshots keep dead rows in this database.
func (s *Store) Horizon(ctx context.Context) (h Horizon, err error) {
	if err := s.pool.QueryRow(ctx, q("growth_horizon")).Scan(&h.Next, &h.Held, &h.Who); err != nil {
		return h, s.explain("read the oldest snapshot", err)
	}
	return h, nil
}
