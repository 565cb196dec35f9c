package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// Relation is a job's table, or one of its leaf partitions, with the bound frozen for it.
type Relation struct {
	OID       uint32
	Name      string // qualified and quoted, as at the freeze
	Leaf      bool
	Bound     ranges.Key // nil: empty at the freeze
	PlannedTo ranges.Key // where the next boundary search begins; nil: at the start
	Planned   bool
	Dropped   bool
	File      uint32 // whose row addresses its plan is of; 0: it is planned by key
}

// Leaf names a relation to freeze.
type Leaf struct {
	OID          uint32
	Schema, Name string
	Leaf         bool
}

// Freeze fixes the upper bound of relations and notes the transactions that held a write lock on them then. Bounds are read before
// locks: a row below a bound that was not yet visible belongs to a transaction that the first batch waits for. A leaf partition that
// was gone and is back goes on from its checkpoints. A job that is verified already is proved anew with them, from the first round. A
// job that a person stopped meanwhile is not touched.
func (l *Leader) Freeze(ctx context.Context, j job.Job, leaves []Leaf) error {
	_, alias, err := job.SplitTable(j.Spec.Table)
	if err != nil {
		return err
	}
	return l.tx(ctx, "freeze "+j.Name, func(tx pgx.Tx) error {
		now, err := lockJob(ctx, tx, j.ID)
		if err != nil || now.State != job.Planning && !now.State.Active() {
			return err // a person stopped it meanwhile
		}
		oids := make([]uint32, 0, len(leaves))
		for _, leaf := range leaves {
			t := statement.For(leaf.Schema, leaf.Name, j.Key, j.Spec, alias)
			bound, file, err := bound(ctx, tx, now, t, leaf.OID)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, q("relation_insert"), j.ID, leaf.OID, t.Relation(), leaf.Leaf, []string(bound), file); err != nil {
				return err
			}
			if err := rewritten(ctx, tx, j.ID, leaf.OID, t.Relation(), bound, file); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, q("relation_back"), j.ID, leaf.OID, t.Relation())
			if err != nil {
				return err
			}
			if tag.RowsAffected() > 0 {
				if _, err := tx.Exec(ctx, q("ranges_back"), j.ID, leaf.OID); err != nil {
					return err
				}
			}
			oids = append(oids, leaf.OID)
		}
		writers, err := openWriters(ctx, tx, oids)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q("unplanned"), j.ID); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, q("frozen"), j.ID, writers); err != nil || now.State == job.Planning {
			return err
		}
		if now.State == job.Verifying {
			if err := forgetProof(ctx, tx, j.ID); err != nil {
				return err
			}
		}
		// Leaf partitions attached later: their batches, too, wait for who wrote them then.
		_, err = setState(ctx, tx, now, job.Planning, "", "backfleet", "freeze", "", nil)
		return err
	})
}

// bound reads the upper bound of a relation: its highest key or, in block order, its end and the file that it is the end of.
func bound(ctx context.Context, tx pgx.Tx, j job.Job, t statement.Target, relation uint32) (bound ranges.Key, file *uint32, err error) {
	if j.Order != job.OrderBlock {
		sql := t.Bound()
		if bound, err = statement.OneKey(tx.Query(ctx, sql.Text, sql.Args...)); err != nil {
			return nil, nil, fmt.Errorf("highest key of %s: %w", t.Relation(), err)
		}
		return bound, nil, nil
	}
	var blocks int64
	if err := tx.QueryRow(ctx, statement.File, relation).Scan(&file, &blocks); err != nil {
		return nil, nil, fmt.Errorf("size of %s: %w", t.Relation(), err)
	}
	return ranges.BlockKey(blocks), file, nil
}

// rewritten begins the plan of a relation anew that is planned by the row addresses of another file. What is done stays done: those rows no
// longer match `where`.
func rewritten(ctx context.Context, tx pgx.Tx, id job.ID, relation uint32, name string, bound ranges.Key, file *uint32) error {
	if file == nil {
		return nil
	}
	tag, err := tx.Exec(ctx, q("relation_rewritten"), id, relation, name, []string(bound), *file)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, q("ranges_rewritten"), id, relation, *file); err != nil {
		return err
	}
	return event(ctx, tx, id, "backfleet", "relation_rewritten", map[string]any{"relation": name})
}

// Rewritten lists the relations of a job in block order that have another file now than the one that they are planned by.
func (s *Store) Rewritten(ctx context.Context, id job.ID) ([]uint32, error) {
	rows, err := s.pool.Query(ctx, q("relations_rewritten"), id)
	if err != nil {
		return nil, s.explain("read the relations' files", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint32])
}

func openWriters(ctx context.Context, db querier, oids []uint32) ([]string, error) {
	rows, err := db.Query(ctx, q("writers"), oids)
	if err != nil {
		return nil, err
	}
	writers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if writers == nil {
		writers = []string{}
	}
	return writers, err
}

// StillWriting returns which of the transactions that the freeze noted still hold their lock.
func (s *Store) StillWriting(ctx context.Context, j job.Job) ([]string, error) {
	if len(j.FreezeWait) == 0 {
		return nil, nil
	}
	rels, err := s.Relations(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	oids := make([]uint32, len(rels))
	for i, r := range rels {
		oids[i] = r.OID
	}
	now, err := openWriters(ctx, s.pool, oids)
	if err != nil {
		return nil, s.explain("read write locks", err)
	}
	waited := map[string]bool{}
	for _, w := range j.FreezeWait {
		for _, id := range transactionIDs(w) {
			waited[id] = true
		}
	}
	var still []string
	for _, w := range now {
		if slices.ContainsFunc(transactionIDs(w), func(id string) bool { return waited[id] }) {
			still = append(still, w)
		}
	}
	return still, nil
}

// transactionIDs are the ids by which a transaction of openWriters is known again: its virtual id, which it keeps when it is
// prepared, and its xid, which a prepared one keeps over a restart.
func transactionIDs(writer string) []string {
	fields := strings.Fields(writer)
	if at := slices.Index(fields, "xid"); at >= 0 && at+1 < len(fields) {
		return []string{fields[0], "xid " + fields[at+1]}
	}
	return fields[:min(1, len(fields))]
}

// Relations lists a job's relations in planning order.
func (s *Store) Relations(ctx context.Context, id job.ID) ([]Relation, error) {
	rels, err := relations(ctx, s.pool, id)
	if err != nil {
		return nil, s.explain("list relations", err)
	}
	return rels, nil
}

func relations(ctx context.Context, db querier, id job.ID) ([]Relation, error) {
	rows, err := db.Query(ctx, q("relations"), id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRelation)
}

func scanRelation(row pgx.CollectableRow) (Relation, error) {
	var r Relation
	err := row.Scan(&r.OID, &r.Name, &r.Leaf, (*[]string)(&r.Bound), (*[]string)(&r.PlannedTo), &r.Planned, &r.Dropped, &r.File)
	return r, err
}

// PlanCounts says how far a plan is.
type PlanCounts struct {
	Next   int // the index of the next range
	Queued int // ranges that wait for release
}

// PlanCounts reads how far a job's plan is.
func (s *Store) PlanCounts(ctx context.Context, id job.ID) (PlanCounts, error) {
	var c PlanCounts
	if err := s.pool.QueryRow(ctx, q("plan_counts"), id).Scan(&c.Next, &c.Queued); err != nil {
		return c, s.explain("count planned ranges", err)
	}
	return c, nil
}

// AddRanges writes ranges of one relation, of a file of it where they span row addresses, and how far its plan now is, in one transaction.
func (l *Leader) AddRanges(ctx context.Context, id job.ID, relation, file uint32, rs []ranges.Range, planned bool) error {
	return l.tx(ctx, "plan", func(tx pgx.Tx) error {
		var to []string
		if len(rs) > 0 {
			to = rs[len(rs)-1].Hi
		}
		var of any
		if file != 0 {
			of = file
		}
		row := make([]any, 10) // CopyFrom encodes each before it asks for the next
		row[0] = string(id)
		source := pgx.CopyFromSlice(len(rs), func(i int) ([]any, error) {
			r := rs[i]
			var lo, hi any = []string(r.Lo), []string(r.Hi)
			row = append(row[:1], int32(r.Index), r.Relation, lo, hi, r.HiClosed, lo, hi, lo, of)
			return row, nil
		})
		columns := []string{"job_id", "index", "relation", "lo", "hi", "hi_inclusive", "chunk_lo", "chunk_hi", "key", "file"}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"backfleet", "ranges"}, columns, source); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("relation_planned"), id, relation, to, planned)
		return err
	})
}

// Planned notes that every range of a job is in the ledger.
func (l *Leader) Planned(ctx context.Context, id job.ID) error {
	return l.tx(ctx, "plan", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("planned"), id)
		return err
	})
}

// Start lets a job's batches begin.
func (l *Leader) Start(ctx context.Context, id job.ID) (job.Job, error) {
	var out job.Job
	err := l.tx(ctx, "start", func(tx pgx.Tx) error {
		var err error
		out, err = oneJob(ctx, tx, "job_started", id)
		return err
	})
	return out, err
}

// Explain stores why a job does not move, for people to read. It does not raise the revision.
func (l *Leader) Explain(ctx context.Context, id job.ID, reason string) error {
	return l.tx(ctx, "explain", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("job_reason"), id, reason)
		return err
	})
}

// DropRelation ends the open ranges of a leaf partition that is gone.
func (l *Leader) DropRelation(ctx context.Context, id job.ID, rel Relation) error {
	return l.tx(ctx, "drop "+rel.Name, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q("relation_dropped"), id, rel.OID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q("ranges_dropped"), id, rel.OID); err != nil {
			return err
		}
		return event(ctx, tx, id, "backfleet", "relation_dropped", map[string]any{"relation": rel.Name})
	})
}

// StartRound adds the ranges of a verification round that walks keys, and returns the job in it. A round that is there already is not
// added again, and none begins while a range is open.
func (l *Leader) StartRound(ctx context.Context, id job.ID, round int) (job.Job, error) {
	return l.startRound(ctx, id, round, nil, func(tx pgx.Tx, j job.Job) error {
		if j.Spec.Where == "" && j.Spec.Check == "" {
			return nil
		}
		if err := addRound(ctx, tx, id, round, j.Round == j.BlockRounds); err != nil {
			return err
		}
		return l.verifyBlocks(ctx, tx, j, round)
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

// roundStep is how many ranges of a verification one statement writes: well within its timeout on a slow server.
const roundStep = 20_000

// addRound writes the ranges of a verification round that walks keys; all of the plan if it is the first that does.
func addRound(ctx context.Context, tx pgx.Tx, id job.ID, round int, first bool) error {
	for after, n := -1, roundStep; n == roundStep; {
		if err := tx.QueryRow(ctx, q("verify_insert"), id, round, first, after, roundStep).Scan(&n, &after); err != nil {
			return err
		}
	}
	return nil
}

// verifyBlocks adds the ranges of a round over the relations that are planned by row addresses: all blocks that they have now, for a row may
// have come to any of them.
func (l *Leader) verifyBlocks(ctx context.Context, tx pgx.Tx, j job.Job, round int) error {
	rels, err := relations(ctx, tx, j.ID)
	if err != nil {
		return err
	}
	for _, rel := range rels {
		if rel.File == 0 || rel.Dropped {
			continue
		}
		var file uint32
		var blocks int64
		if err := tx.QueryRow(ctx, statement.File, rel.OID).Scan(&file, &blocks); err != nil {
			return fmt.Errorf("size of %s: %w", rel.Name, err)
		}
		var density float64
		if err := tx.QueryRow(ctx, statement.RowsPerBlock, rel.OID).Scan(&density); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q("verify_blocks"), j.ID, round, rel.OID, ranges.BlocksOf(j.Spec.RowsPerRange, density), blocks, rel.File); err != nil {
			return err
		}
	}
	return nil
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

// unsettled reports whether a range of the job, which the caller has locked, is not at its end.
func unsettled(ctx context.Context, tx pgx.Tx, id job.ID) (open bool, err error) {
	err = tx.QueryRow(ctx, q("unsettled"), id).Scan(&open)
	return open, err
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
	rows, err := s.pool.Query(ctx, q("failing_keys"), id, round)
	if err != nil {
		return r, s.explain("list failing rows", err)
	}
	r.Failing, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ranges.Key, error) {
		var k []string
		err := row.Scan(&k)
		return k, err
	})
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

// EndLSN fixes the WAL position that every replica must have flushed before the job may be called complete.
func (l *Leader) EndLSN(ctx context.Context, id job.ID) (lsn string, err error) {
	err = l.tx(ctx, "end", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q("end_lsn"), id).Scan(&lsn)
	})
	return lsn, err
}

// End finishes a job with its report, unless it is no longer verifying or a range of it is open again; the job is returned as it then
// stands.
func (l *Leader) End(ctx context.Context, id job.ID, to job.State, reason string, report job.Report) (job.Job, error) {
	var out job.Job
	err := l.tx(ctx, "end", func(tx pgx.Tx) error {
		j, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		if out = j; j.State != job.Verifying {
			return nil // a person was faster
		}
		if open, err := unsettled(ctx, tx, id); err != nil || open {
			return err // a retry was: what it queued is not proved
		}
		back := job.State("")
		if to == job.Failed {
			back = job.Running
		}
		if out, err = setState(ctx, tx, j, to, back, "backfleet", "end", reason, nil); err != nil {
			return err
		}
		report.State, report.Reason, report.Ended = to, reason, &out.Ended
		_, err = tx.Exec(ctx, q("report_store"), id, jsonb{report})
		return err
	})
	return out, err
}

// settingsFor are the settings under which a job's own expressions run outside batches.
func (s *Store) settingsFor(j job.Job) postgres.Settings {
	settings := s.settings
	settings.Job, settings.SearchPath = j.Name, j.SearchPath
	return settings
}

// Read runs fn in a transaction under a job's pinned settings.
func (s *Store) Read(ctx context.Context, j job.Job, fn func(pgx.Tx) error) error {
	return postgres.InTx(ctx, s.pool, s.settingsFor(j), fn)
}

// Target returns what a job does to one of its relations, by the relation's present name.
func (s *Store) Target(ctx context.Context, tx pgx.Tx, j job.Job, relation uint32) (statement.Target, error) {
	_, alias, err := job.SplitTable(j.Spec.Table)
	if err != nil {
		return statement.Target{}, err
	}
	var schema, name string
	var partition bool
	var file uint32
	if err := tx.QueryRow(ctx, q("relation_name"), relation).Scan(&schema, &name, &partition, &file); err != nil {
		return statement.Target{}, fmt.Errorf("relation %d: %w", relation, err)
	}
	return statement.For(schema, name, j.Key, j.Spec, alias), nil
}
