package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// StartRound adds the ranges of a verification round that walks as the job does, and returns the job in it. A round that is there already is
// not added again, and none begins while a range is open.
func (l *Leader) StartRound(ctx context.Context, id job.ID, round int) (job.Job, error) {
	return l.startRound(ctx, id, round, nil, func(tx pgx.Tx, j job.Job) error {
		if j.Spec.Where == "" && j.Spec.Check == "" {
			return nil
		}
		if err := addKeys(ctx, tx, id, round, j.Round == j.BlockRounds); err != nil {
			return err
		}
		heaps, err := heapsOf(ctx, tx, j)
		if err != nil {
			return err
		}
		return addBlocks(ctx, tx, id, round, heaps, false)
	})
}

// StartBlocks begins a verification round that reads the blocks of files, in ranges of at most each of them, in a snapshot that the caller
// holds and that was taken while they were these. Otherwise it is as [Leader.StartRound].
func (l *Leader) StartBlocks(ctx context.Context, id job.ID, round int, snapshot string, files []File, each int64) (job.Job, error) {
	return l.startRound(ctx, id, round, &snapshot, func(tx pgx.Tx, _ job.Job) error {
		heaps := make([]heap, len(files))
		for i, f := range files {
			heaps[i] = heap{f, each}
		}
		return addBlocks(ctx, tx, id, round, heaps, true)
	})
}

// startRound begins a round, with the ranges that add writes, unless it is there already or a range is open.
func (l *Leader) startRound(ctx context.Context, id job.ID, round int, snapshot *string, add func(pgx.Tx, job.Job) error) (job.Job, error) {
	var out job.Job
	err := l.tx(ctx, "verify", func(tx pgx.Tx) error {
		j, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		if out = j; j.Round >= round || !j.State.Active() {
			return nil
		}
		if open, err := unsettled(ctx, tx, id); err != nil || open {
			return err // a retry was faster: what it queued must be part of the round
		}
		if err := add(tx, j); err != nil {
			return err
		}
		out, err = oneJob(ctx, tx, "verify_round", id, round, snapshot)
		return err
	})
	return out, err
}

// unsettled reports whether a range of the job, which the caller has locked, is not at its end.
func unsettled(ctx context.Context, tx pgx.Tx, id job.ID) (open bool, err error) {
	err = tx.QueryRow(ctx, q("unsettled"), id).Scan(&open)
	return open, err
}

// roundStep is how many ranges of a verification one statement writes: well within its timeout on a slow server.
const roundStep = 20_000

// addKeys writes the ranges of a round over the relations that are planned by key; all of the plan if it is the first that walks keys.
func addKeys(ctx context.Context, tx pgx.Tx, id job.ID, round int, first bool) error {
	for after, n := -1, roundStep; n == roundStep; {
		if err := tx.QueryRow(ctx, q("verify_insert"), id, round, first, after, roundStep).Scan(&n, &after); err != nil {
			return err
		}
	}
	return nil
}

// heap is a file that a round reads, in ranges of at most so many blocks.
type heap struct {
	File
	each int64
}

// heapsOf lists the relations that are planned by row addresses, with all blocks that they have now, for a row may have come to any of them.
// The file is that of the plan: with another one the blocks mean nothing.
func heapsOf(ctx context.Context, tx pgx.Tx, j job.Job) ([]heap, error) {
	rels, err := relations(ctx, tx, j.ID)
	if err != nil {
		return nil, err
	}
	var heaps []heap
	for _, rel := range rels {
		if rel.File == 0 || rel.Dropped {
			continue
		}
		f, err := fileOf(ctx, tx, rel.OID, rel.Name)
		if err != nil {
			return nil, err
		}
		f.Filenode = rel.File
		var density float64
		if err := tx.QueryRow(ctx, statement.RowsPerBlock, rel.OID).Scan(&density); err != nil {
			return nil, err
		}
		heaps = append(heaps, heap{f, ranges.BlocksFor(j.Spec.RowsPerRange, density)})
	}
	return heaps, nil
}

// addBlocks writes the ranges of a round over all blocks of heaps. Counted ones count down to 0 (blocks_left), which shows that a program that
// knows of blocks has carried them.
func addBlocks(ctx context.Context, tx pgx.Tx, id job.ID, round int, heaps []heap, counted bool) error {
	if len(heaps) == 0 {
		return nil
	}
	counts, err := planCounts(ctx, tx, id)
	if err != nil {
		return err
	}
	columns := []string{"job_id", "index", "kind", "round", "relation", "file", "blocks_left", "lo", "hi", "hi_inclusive", "chunk_lo", "chunk_hi", "key"}
	var rows [][]any
	write := func() error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"backfleet", "ranges"}, columns, pgx.CopyFromRows(rows))
		rows = rows[:0]
		return err
	}
	next := counts.Next
	for _, h := range heaps {
		for s := range ranges.CutBlocks(h.Blocks, h.each) {
			var left int64
			if counted {
				from, to, err := ranges.Ends(s, ranges.BlockOf)
				if err != nil {
					return err
				}
				left = to - from
			}
			lo, hi := []string(s.Lo), []string(s.Hi)
			rows = append(rows, []any{string(id), int32(next), string(job.Verify), int16(round), h.Relation, h.Filenode, left, lo, hi, s.HiClosed, lo, hi, lo})
			next++
			if len(rows) == roundStep {
				if err := write(); err != nil {
					return err
				}
			}
		}
	}
	return write()
}

// AnySkipped reports whether a person took ranges of a job out.
func (s *Store) AnySkipped(ctx context.Context, id job.ID) (bool, error) {
	var skipped bool
	if err := s.pool.QueryRow(ctx, q("any_skipped"), id).Scan(&skipped); err != nil {
		return false, s.explain("look for skipped ranges", err)
	}
	return skipped, nil
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

// Moved is how far a job has come in the audit log, changes of its limits apart. Where it is the same later, nobody has stopped the job,
// planned it anew or taken its proof back meanwhile.
func (s *Store) Moved(ctx context.Context, id job.ID) (event int64, err error) {
	if err := s.pool.QueryRow(ctx, q("moved"), id).Scan(&event); err != nil {
		return 0, s.explain("read how far a job has come", err)
	}
	return event, nil
}

// NoteLastLook keeps what the last look after a round found, unless the job is no longer in it, or has moved since the look began: it may have
// come to a round of the same number with other partitions.
func (l *Leader) NoteLastLook(ctx context.Context, id job.ID, moved int64, look job.LastLook) error {
	return l.tx(ctx, "verify", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("last_look"), id, look.Round, jsonb{look}, moved)
		return err
	})
}

// RoundResult is what a verification round found.
type RoundResult struct {
	Ranges     int64
	Residual   int64
	CheckFails int64
	Failing    []ranges.Key // some of the rows
}

// RoundResult sums up a round.
func (s *Store) RoundResult(ctx context.Context, id job.ID, round int) (RoundResult, error) {
	var r RoundResult
	if err := s.pool.QueryRow(ctx, q("round_result"), id, round).Scan(&r.Ranges, &r.Residual, &r.CheckFails); err != nil {
		return r, s.explain("sum up the verification", err)
	}
	var err error
	r.Failing, err = list(ctx, s, "list failing rows", func(row pgx.CollectableRow) (ranges.Key, error) {
		var k []string
		err := row.Scan(&k)
		return k, err
	}, "failing_keys", id, round)
	return r, err
}

// forgetProof takes a job's verification back, so that it begins at its first round.
func forgetProof(ctx context.Context, tx pgx.Tx, id job.ID) error {
	if _, err := tx.Exec(ctx, q("forget_round"), id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, q("forget_ranges"), id)
	return err
}
