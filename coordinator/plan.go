package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

// planningTrouble begins the reason of a job whose planning has met an error.
const planningTrouble = "planning: "

const (
	planEvery = 100 * time.Millisecond
	planAhead = 10_000 // ranges that may wait for release before planning pauses
	stepMost  = 2_000  // ranges a step
	leafEvery = 2 * time.Second
)

// plan freezes each job's bound, cuts its relations into ranges while the first of them are carried already, and starts its batches
// once the transactions of the freeze are over.
func (l *leadership) plan(ctx context.Context) {
	p := &planning{leadership: l, planners: map[plannerKey]*ranges.Planner{}, looked: map[job.ID]time.Time{}}
	l.turns(ctx, planEvery, within(longestTick, func(ctx context.Context) {
		l.each(ctx, func(j job.Job) bool { return j.State == job.Planning || j.State.Active() }, func(j job.Job) {
			if err := p.advance(ctx, j); err != nil {
				l.complain(ctx, "planning stopped for now", err, zap.String("job", j.Name))
				l.explain(ctx, j, planningTrouble+postgres.Describe(err))
			} else if strings.HasPrefix(j.Reason, planningTrouble) {
				l.explain(ctx, j, "") // it is over
			}
		})
	}))
}

type plannerKey struct {
	id       job.ID
	relation uint32
	file     uint32
}

type planning struct {
	*leadership
	planners map[plannerKey]*ranges.Planner // each learns the cost of its steps
	looked   map[job.ID]time.Time           // when the leaves were last compared
}

func (p *planning) advance(ctx context.Context, j job.Job) error {
	if !j.Planned || j.State == job.Planning {
		// The snapshot may be older than what this loop did last: decide on the job as it stands.
		var err error
		if j, err = p.ledger.Get(ctx, j.ID); err != nil || !(j.State == job.Planning || j.State.Active()) {
			return err
		}
	}
	if !j.Frozen {
		leaves, err := p.leaves(ctx, j)
		if err != nil {
			return err
		}
		if err := p.ledger.Freeze(ctx, j, leaves); err != nil {
			return err
		}
		p.log.Info("bound frozen", zap.String("job", j.Name), zap.Int("relations", len(leaves)))
		if j, err = p.ledger.Get(ctx, j.ID); err != nil || !j.Frozen {
			return err
		}
	}
	if time.Since(p.looked[j.ID]) > leafEvery {
		p.looked[j.ID] = time.Now()
		if err := p.dropGone(ctx, j); err != nil {
			return err
		}
		if again, err := p.replanned(ctx, j); err != nil || again {
			return err // the snapshot is older than that
		}
	}
	if !j.Planned {
		if err := p.extend(ctx, j); err != nil {
			return err
		}
	}
	if j.State == job.Planning {
		return p.start(ctx, j)
	}
	return nil
}

// start lets batches begin once no transaction of the freeze still holds its lock.
func (p *planning) start(ctx context.Context, j job.Job) error {
	still, err := p.ledger.StillWriting(ctx, j)
	if err != nil {
		return err
	}
	if len(still) > 0 {
		p.explain(ctx, j, "waits for transactions that held a write lock on the table at the freeze: "+strings.Join(still, ", "))
		return nil
	}
	started, err := p.ledger.Start(ctx, j.ID)
	if err != nil {
		return err
	}
	p.log.Info("job started", zap.String("job", j.Name))
	if started.Planned {
		return nil
	}
	return p.extend(ctx, started) // at once: workers begin together, not one range ahead of the others
}

// extend plans more ranges, as far ahead of their release as planAhead allows.
func (p *planning) extend(ctx context.Context, j job.Job) error {
	counts, err := p.ledger.PlanCounts(ctx, j.ID)
	if err != nil {
		return err
	}
	rels, err := p.ledger.Relations(ctx, j.ID)
	if err != nil {
		return err
	}
	next, room := counts.Next, planAhead-counts.Queued
	for _, rel := range rels {
		key := plannerKey{j.ID, rel.OID, rel.File}
		planner := p.planners[key]
		if planner == nil {
			s, err := p.stepper(ctx, j, rel)
			if err != nil {
				return err
			}
			planner = ranges.NewPlanner(s, j.Spec.RowsPerRange, time.Now)
			p.planners[key] = planner
		}
		from := rel.PlannedTo
		for planned := rel.Planned || rel.Dropped; !planned; {
			if room <= 0 || ctx.Err() != nil {
				return ctx.Err()
			}
			began := time.Now()
			var found []ranges.Range
			found, planned, err = planner.Next(ctx, rel.OID, next, from, rel.Bound, min(room, stepMost))
			if err != nil {
				if rel.Leaf && postgres.Classify(err) == postgres.Schema {
					delete(p.looked, j.ID) // dropped meanwhile: compare the leaves at the next turn
				}
				return err
			}
			err := p.ledger.AddRanges(ctx, j.ID, rel.OID, rel.File, found, planned)
			p.c.traced(ctx, "plan", began, j, err, observe.TraceRanges.Int(len(found)))
			if err != nil {
				return err
			}
			next, room = next+len(found), room-len(found)
			if len(found) > 0 {
				from = found[len(found)-1].Hi
			}
			if j.State == job.Planning {
				return nil // let the first ones start before the rest is planned
			}
		}
		delete(p.planners, key)
	}
	if err := p.ledger.Planned(ctx, j.ID); err != nil {
		return err
	}
	p.log.Info("job planned", zap.String("job", j.Name), zap.Int("ranges", next))
	return nil
}

// leaves lists the relations that the job's table has now.
func (l *leadership) leaves(ctx context.Context, j job.Job) ([]store.Leaf, error) {
	schema, name, err := job.SplitTable(j.Spec.Table)
	if err != nil {
		return nil, err
	}
	var oid *uint32
	relation := pgx.Identifier{schema, name}.Sanitize()
	if err := l.ledger.Pool().QueryRow(ctx, "select to_regclass($1)::oid", relation).Scan(&oid); err != nil {
		return nil, err
	}
	if oid == nil {
		if _, err := l.ledger.Fail(ctx, j.ID, "backfleet", fmt.Sprintf("table %s is gone", relation)); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("table %s is gone", relation)
	}
	found, err := catalog.Leaves(ctx, l.ledger.Pool(), *oid)
	if err != nil {
		return nil, l.pauseRefused(ctx, j, err)
	}
	leaves := make([]store.Leaf, len(found))
	for i, f := range found {
		leaves[i] = store.Leaf{OID: f.OID, Schema: f.Schema, Name: f.Name, Leaf: f.OID != *oid}
	}
	return leaves, nil
}

// dropGone ends the ranges of leaf partitions that were dropped or detached.
func (p *planning) dropGone(ctx context.Context, j job.Job) error {
	rels, err := p.ledger.Relations(ctx, j.ID)
	if err != nil || len(rels) == 0 {
		return err
	}
	leaves, err := p.leaves(ctx, j)
	if err != nil {
		return err
	}
	there := map[uint32]bool{}
	for _, leaf := range leaves {
		there[leaf.OID] = true
	}
	for _, rel := range rels {
		if rel.Dropped || there[rel.OID] {
			continue
		}
		if !rel.Leaf {
			_, err := p.ledger.Fail(ctx, j.ID, "backfleet", fmt.Sprintf("table %s was replaced by another of the name", rel.Name))
			return err
		}
		p.log.Warn("leaf partition gone", zap.String("job", j.Name), zap.String("relation", rel.Name))
		if err := p.ledger.DropRelation(ctx, j.ID, rel); err != nil {
			return err
		}
	}
	return nil
}

// replanned plans the relations anew that are walked by row addresses and have another file than these are of. The ranges of the old one can
// do no harm meanwhile: their batches look at the file themselves.
func (p *planning) replanned(ctx context.Context, j job.Job) (again bool, err error) {
	if j.Order != job.OrderBlock {
		return false, nil
	}
	rewritten, err := p.ledger.Rewritten(ctx, j.ID)
	if err != nil || len(rewritten) == 0 {
		return false, err
	}
	leaves, err := p.leaves(ctx, j)
	if err != nil {
		return false, err
	}
	leaves = slices.DeleteFunc(leaves, func(l store.Leaf) bool { return !slices.Contains(rewritten, l.OID) })
	p.log.Warn("table written anew; its row addresses are planned anew", zap.String("job", j.Name), zap.Int("relations", len(leaves)))
	return true, p.ledger.Freeze(ctx, j, leaves)
}

// newLeaves lists leaf partitions that were attached after the plan.
func (l *leadership) newLeaves(ctx context.Context, j job.Job) ([]store.Leaf, error) {
	rels, err := l.ledger.Relations(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	leaves, err := l.leaves(ctx, j)
	if err != nil {
		return nil, err
	}
	known := map[uint32]bool{}
	for _, rel := range rels {
		known[rel.OID] = !rel.Dropped
	}
	var attached []store.Leaf
	for _, leaf := range leaves {
		if !known[leaf.OID] {
			attached = append(attached, leaf)
		}
	}
	if len(attached) == 0 {
		return nil, nil
	}
	key := make([]string, len(j.Key))
	for i, c := range j.Key {
		key[i] = c.Name
	}
	if _, err := catalog.Load(ctx, l.ledger.Pool(), j.Spec.Table, key); err != nil {
		return nil, l.pauseRefused(ctx, j, err) // a leaf without the key's index, or a foreign one
	}
	return attached, nil
}

// pauseRefused pauses a job whose table has become one that a submit would refuse, for a person to mend.
func (l *leadership) pauseRefused(ctx context.Context, j job.Job, err error) error {
	var refused job.Refusals
	if !errors.As(err, &refused) {
		return err
	}
	if _, pauseErr := l.ledger.Pause(ctx, j.ID, "backfleet", refused.Error()); pauseErr != nil {
		return pauseErr
	}
	return err
}

// stepper finds the boundaries of a relation's ranges: in the table, or between its blocks.
func (p *planning) stepper(ctx context.Context, j job.Job, rel store.Relation) (ranges.Stepper, error) {
	if rel.File == 0 {
		return stepper{p.ledger.Store, j}, nil
	}
	s := ranges.BlockStepper{}
	err := p.ledger.Pool().QueryRow(ctx, statement.RowsPerBlock, rel.OID).Scan(&s.RowsPerBlock)
	return s, err
}

// stepper searches boundaries in the target table, under a job's pinned settings.
type stepper struct {
	store *store.Store
	job   job.Job
}

func (s stepper) Step(ctx context.Context, relation uint32, from, to ranges.Key, rows, count int) ([]ranges.Key, error) {
	var bounds []ranges.Key
	err := s.store.Read(ctx, s.job, func(tx pgx.Tx) error {
		t, err := s.store.Target(ctx, tx, s.job, relation)
		if err != nil {
			return err
		}
		sql := t.Steps(ranges.Span{Lo: from, Hi: to, HiClosed: true}, rows, count)
		bounds, err = statement.Keys(tx.Query(ctx, sql.Text, sql.Args...))
		return err
	})
	return bounds, err
}
