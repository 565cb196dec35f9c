package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
)

// File is the heap of one relation as it lies on disk.
type File struct {
	Relation uint32
	Filenode uint32
	Blocks   int64
}

// Files reads the heaps of a job's relations. Every row version that a snapshot sees which was taken before lies within their blocks, as
// long as the file is the relation's.
func (s *Store) Files(ctx context.Context, id job.ID) ([]File, error) {
	return list(ctx, s, "read the sizes of the relations", func(row pgx.CollectableRow) (File, error) {
		var f File
		var before, after *uint32
		var blocks *int64
		err := row.Scan(&f.Relation, &before, &blocks, &after)
		if err == nil && (before == nil || after == nil || blocks == nil || *before != *after) {
			return f, fmt.Errorf("relation %d is dropped or rewritten at this moment", f.Relation)
		}
		if err == nil {
			f.Filenode, f.Blocks = *before, *blocks
		}
		return f, err
	}, "files", id)
}

// fileOf reads the heap of a relation as it is now.
func fileOf(ctx context.Context, tx pgx.Tx, relation uint32, name string) (File, error) {
	f := File{Relation: relation}
	if err := tx.QueryRow(ctx, statement.File, relation).Scan(&f.Filenode, &f.Blocks); err != nil {
		return f, fmt.Errorf("size of %s: %w", name, err)
	}
	return f, nil
}
