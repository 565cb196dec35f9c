package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/test/bench/compare"
)

// fenceLooks is how often the ledger's cost is measured, of which the median counts.
const fenceLooks = 3

// commitOn makes Backfleet's batches wait for their WAL as all peers do; its own setting is off.
const commitOn = "batch: {synchronous_commit: 'on'}\n"

// The methods, by how they run in a trial. A fleet's signals that spare an application look only where there is one.
var (
	monolithicPeer = method{compare.Monolithic, peer("monolithic")}
	scriptPeer     = method{compare.Script, peer("script")}
	gitlabPeer     = method{compare.GitLab, peer("gitlab")}
	ctePeer        = method{compare.KeysetCTE, peer("keyset-cte")}
	pgrollPeer     = method{compare.Pgroll, pgroll}
	oneWorker      = method{compare.Fleet(1), fleetOf(1, "")}
	twoWorkers     = method{compare.Fleet(2), fleetOf(2, "")}
	fourWorkers    = method{compare.Fleet(4), fleetOf(4, "")}
	eightWorkers   = method{compare.Fleet(8), fleetOf(8, "")}
	fourCommitOn   = method{compare.CommitOn, fleetOf(4, commitOn)}
	fourInKeyOrder = method{compare.KeyOrder, fleetOf(4, "order: key\n")}
)

// scene is what is there beside the update, and which methods fill which table there.
type scene struct {
	name         string
	standby, app bool
	table        string // as the result calls it
	of           table
	methods      []method
}

// scenes are all that is compared, in tables of sizes that keep the whole within an hour. Each range has 50,000 rows, so the tables are of
// as many ranges as four workers share evenly.
func (b *bench) scenes() []scene {
	n := b.compareRows
	named := func(template string, rows int, indexed bool, s shape) table {
		return table{template: "compare_" + template, rows: rows, indexed: indexed, shape: s}
	}
	plain, indexed := named("plain", n, false, shape{}), named("indexed", n/2, true, shape{})
	all := []method{monolithicPeer, scriptPeer, pgrollPeer, gitlabPeer, ctePeer, oneWorker, twoWorkers, fourWorkers, eightWorkers, fourCommitOn}
	few := []method{monolithicPeer, scriptPeer, fourWorkers}
	live := []method{monolithicPeer, scriptPeer, pgrollPeer, gitlabPeer, fourWorkers, fourCommitOn}
	return []scene{
		{compare.Quiet, false, false, compare.PrimaryKey, plain, all},
		{compare.Quiet, false, false, compare.Indexed, indexed, all},
		{compare.Quiet, false, false, compare.Filled, named("roomy", n/3, true, roomy), few},
		{compare.Quiet, false, false, compare.UUID, named("uuid", n/3, false, uuidKey), slices.Concat(few, []method{fourInKeyOrder})},
		{compare.Quiet, false, false, compare.Composite, named("composite", n/3, false, compositeKey), few},
		{compare.Quiet, false, false, compare.Gappy, named("gappy", n/3, false, gappyKey), few},
		{compare.Quiet, false, false, compare.Wide, named("wide", n/6, false, widerRows), few},
		{compare.Standby, true, false, compare.Indexed, indexed, few},
		{compare.OLTP, false, true, compare.PrimaryKey, plain, live},
		{compare.Live, true, true, compare.Indexed, indexed, live},
	}
}

// versus compares Backfleet with all that people would pick instead: each method on a fresh copy of each table, in an order that is drawn
// anew for each round. Trials that the run holds already are not made again.
func versus(ctx context.Context, b *bench) (err error) {
	if err := b.buildPeers(); err != nil {
		return err
	}
	if b.run, err = b.kept(); err != nil {
		return err
	}
	if b.run.When, b.run.Commit, b.run.Machine, err = b.setting(ctx); err != nil {
		return err
	}
	if b.run.Fence, err = b.fenceSeconds(ctx); err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(uint64(b.reps), uint64(b.compareRows)))
	for _, s := range b.scenes() {
		if !s.wanted(b.only) {
			continue
		}
		if err := b.play(ctx, s, order); err != nil {
			return fmt.Errorf("%s, %s: %w", s.name, s.table, err)
		}
	}
	for _, g := range b.run.Goals() {
		b.add("compare", g.What, g.Unit, g.Values, &goal{g.Bound, g.Least})
	}
	if b.docs == "" {
		return nil
	}
	return document(b.docs, b.run)
}

// fenceSeconds is what the ledger costs a batch, as the part fence measures it.
func (b *bench) fenceSeconds(ctx context.Context) (float64, error) {
	var cost series
	for range fenceLooks {
		fenced, bare, err := b.fenceRound(ctx, table{template: "compare_fence", rows: (fenceWarm + 2*fenceRounds + 1) * fenceRows})
		if err != nil {
			return 0, err
		}
		cost = append(cost, fenced-bare)
	}
	return cost.median(), nil
}

// buildPeers builds the programs that stand for the peers.
func (b *bench) buildPeers() (err error) {
	if b.peersBin, err = b.env.BuildCommand(".", "./test/bench/peers"); err != nil {
		return err
	}
	b.pgrollBin, err = b.env.BuildCommand("test/bench/pgroll", ".")
	return err
}

// play makes a scene's rounds.
func (b *bench) play(ctx context.Context, s scene, order *rand.Rand) error {
	warm := false
	for round := 1; round <= b.reps; round++ {
		for _, i := range order.Perm(len(s.methods)) {
			m := s.methods[i]
			if b.run.Has(s.name, s.table, m.name, round, int64(s.of.rows)) {
				continue
			}
			if !warm { // whoever runs first makes the WAL files that the others reuse: that is nobody's merit
				if _, err := b.try(ctx, s, monolithicPeer); err != nil {
					return err
				}
				warm = true
			}
			t, err := b.try(ctx, s, m)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			t.Round = round
			b.say("  round %d: %s", round, t)
			b.run.Add(t)
			if err := b.keep(); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted says whether the scene is one of those that were asked for, by its own name, its table's, or both: "quiet/uuid"; of none, all are.
func (s scene) wanted(only []string) bool {
	table := strings.TrimPrefix(s.of.template, "compare_")
	return len(only) == 0 || slices.ContainsFunc(only, func(name string) bool {
		return name == s.name || name == table || name == s.name+"/"+table
	})
}
