package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
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
	rows, err := s.pool.Query(ctx, q("files"), id)
	if err != nil {
		return nil, s.explain("read the sizes of the relations", err)
	}
	files, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (File, error) {
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
	})
	if err != nil {
		return nil, s.explain("read the sizes of the relations", err)
	}
	return files, nil
}

// AnySkipped reports whether a person took ranges of a job out.
func (s *Store) AnySkipped(ctx context.Context, id job.ID) (bool, error) {
	var skipped bool
	if err := s.pool.QueryRow(ctx, q("any_skipped"), id).Scan(&skipped); err != nil {
		return false, s.explain("look for skipped ranges", err)
	}
	return skipped, nil
}

// StartBlocks begins a verification round that reads the blocks of files, in ranges of at most each of them, in a snapshot that the caller
// holds and that was taken while they were these. Otherwise it is as [Leader.StartRound].
func (l *Leader) StartBlocks(ctx context.Context, id job.ID, round int, snapshot string, files []File, each int64) (job.Job, error) {
	return l.startRound(ctx, id, round, &snapshot, func(tx pgx.Tx, _ job.Job) error {
		var counts PlanCounts
		if err := tx.QueryRow(ctx, q("plan_counts"), id).Scan(&counts.Next, &counts.Queued); err != nil {
			return err
		}
		var source [][]any
		for _, f := range files {
			for _, s := range ranges.CutBlocks(f.Blocks, each) {
				lo, err := ranges.BlockOf(s.Lo)
				if err != nil {
					return err
				}
				hi, err := ranges.BlockOf(s.Hi)
				if err != nil {
					return err
				}
				source = append(source, []any{string(id), int32(counts.Next + len(source)), string(job.Verify), int16(round), f.Relation, f.Filenode, hi - lo,
					[]string(s.Lo), []string(s.Hi), s.HiClosed, []string(s.Lo), []string(s.Hi), []string(s.Lo)})
			}
		}
		columns := []string{"job_id", "index", "kind", "round", "relation", "file", "blocks_left", "lo", "hi", "hi_inclusive", "chunk_lo", "chunk_hi", "key"}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"backfleet", "ranges"}, columns, pgx.CopyFromRows(source))
		return err
	})
}

// GiveUpBlocks takes the round back that reads blocks in a snapshot, if it still is the present one: nothing of it counts.
func (l *Leader) GiveUpBlocks(ctx context.Context, id job.ID, snapshot, reason string) error {
	return l.tx(ctx, "verify", func(tx pgx.Tx) error {
		var round int
		err := tx.QueryRow(ctx, q("blocks_forgotten"), id, snapshot).Scan(&round)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q("blocks_dropped"), id, round); err != nil {
			return err
		}
		return event(ctx, tx, id, "backfleet", "proof_begun_anew", map[string]any{"round": round, "reason": reason})
	})
}

// BlocksLeft says why a round in block order proves nothing; empty: it does.
func (s *Store) BlocksLeft(ctx context.Context, id job.ID, round int) (why string, err error) {
	if err := s.pool.QueryRow(ctx, q("blocks_left"), id, round).Scan(&why); err != nil {
		return "", s.explain("look for blocks that were not read", err)
	}
	return why, nil
}
