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
	f, err := fileOf(ctx, tx, relation, t.Relation())
	if err != nil {
		return nil, nil, err
	}
	return ranges.BlockKey(f.Blocks), &f.Filenode, nil
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
	return list(ctx, s, "read the relations' files", pgx.RowTo[uint32], "relations_rewritten", id)
}

func openWriters(ctx context.Context, db querier, oids []uint32) ([]string, error) {
	rows, err := db.Query(ctx, q("writers"), oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
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
	c, err := planCounts(ctx, s.pool, id)
	if err != nil {
		return c, s.explain("count planned ranges", err)
	}
	return c, nil
}

func planCounts(ctx context.Context, db querier, id job.ID) (c PlanCounts, err error) {
	err = db.QueryRow(ctx, q("plan_counts"), id).Scan(&c.Next, &c.Queued)
	return c, err
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
