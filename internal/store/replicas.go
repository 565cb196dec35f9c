package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// RememberReplica notes that a replica was seen, so that a later leader waits for it while it is away.
func (l *Leader) RememberReplica(ctx context.Context, name string) error {
	return l.tx(ctx, "remember a replica", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("replica_seen"), name)
		return err
	})
}

// Replicas lists every replica ever seen on the present WAL timeline. After a failover they are learned anew: one of those from before
// is the primary now, and would be waited for for ever.
func (s *Store) Replicas(ctx context.Context) ([]string, error) {
	return list(ctx, s, "list replicas", pgx.RowTo[string], "replicas")
}

// NotFlushed names the connected replicas that have not flushed a WAL position yet.
func (s *Store) NotFlushed(ctx context.Context, lsn string) ([]string, error) {
	return list(ctx, s, "read replicas", pgx.RowTo[string], "not_flushed", lsn)
}

// Tables lists the tables and leaf partitions, by OID, that the jobs under way work on, the first thousand of them.
func (s *Store) Tables(ctx context.Context) ([]uint32, error) {
	return list(ctx, s, "list the jobs' tables", func(row pgx.CollectableRow) (uint32, error) {
		var oid int64
		err := row.Scan(&oid)
		return uint32(oid), err
	}, "tables_active")
}
