package coordinator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

const (
	verifyEvery = 50 * time.Millisecond
	mostRounds  = 3 // of verification and repair that walk keys
)

// verify leads each job whose ranges are done to its proof: coverage without gaps, and residual and check counted through the fleet
// until a round finds nothing. `complete` means that, and that every replica has it.
//
// The first round reads the blocks of the heap in one snapshot: rows that move meanwhile have one place in it. If it finds nothing, that
// is the proof. Where it finds rows, or cannot come to its end, the rounds that walk keys follow, which repair what they find. A job in
// block order has rounds of its own: see looks.prove.
func (l *leadership) verify(ctx context.Context) {
	v := &verification{leadership: l, held: map[job.ID]*snapshot{}}
	v.looks = newLooks(ctx, l)
	defer v.looks.wait()
	defer v.letGo(func(job.ID) bool { return true })
	l.turns(ctx, verifyEvery, within(longestTick, func(ctx context.Context) {
		v.drop()
		l.each(ctx, func(j job.Job) bool { return j.State.Active() && j.Planned }, func(j job.Job) {
			if err := v.prove(ctx, j); err != nil {
				l.complain(ctx, "verification stopped for now", err, zap.String("job", j.Name))
			}
		})
	}))
}

// verification is what one term's verifier holds.
type verification struct {
	*leadership
	held  map[job.ID]*snapshot // the rounds that read blocks in them
	looks *looks
}

func (v *verification) prove(ctx context.Context, j job.Job) error {
	open, err := v.ledger.HasOpen(ctx, j.ID)
	if err != nil {
		return err
	}
	if open {
		return v.watch(ctx, j)
	}
	// The snapshot may be older than the last range: decide on the job as it stands.
	if j, err = v.ledger.Get(ctx, j.ID); err != nil || !j.State.Active() || !j.Planned {
		return err
	}
	if j.Snapshot != "" {
		why, err := v.ledger.BlocksLeft(ctx, j.ID, j.Round)
		if err != nil {
			return err
		}
		if why != "" {
			return v.giveUp(ctx, j, why)
		}
		v.letGo(func(id job.ID) bool { return id == j.ID }) // all is read
	} else if failed, err := v.ledger.FailedRanges(ctx, j.ID); err != nil || len(failed) > 0 {
		if err != nil {
			return err
		}
		_, err = v.ledger.Pause(ctx, j.ID, "backfleet", fmt.Sprintf("ranges failed: %s; `backfleet retry %s` tries them again", strings.Join(failed, "; "), j.Name))
		return err
	}
	attached, err := v.newLeaves(ctx, j)
	if err != nil {
		return err
	}
	if len(attached) > 0 {
		v.log.Info("leaf partitions attached since the plan", zap.String("job", j.Name), zap.Int("leaves", len(attached)))
		return v.ledger.Freeze(ctx, j, attached)
	}
	if j.Order == job.OrderBlock {
		return v.looks.prove(ctx, j)
	}
	byKey := j.Round - j.BlockRounds
	if byKey == 0 && j.Snapshot == "" {
		return v.startBlocks(ctx, j)
	}
	result, err := v.ledger.RoundResult(ctx, j.ID, j.Round)
	if err != nil {
		return err
	}
	return v.settle(ctx, j, result, byKey)
}

// settle goes by what a round found, after so many that could repair: another one, or the job's end.
func (l *leadership) settle(ctx context.Context, j job.Job, result store.RoundResult, rounds int) error {
	left := result.Residual + result.CheckFails
	if left > 0 && rounds < mostRounds {
		return l.startRound(ctx, j, j.Round+1)
	}
	if left > 0 {
		return l.end(ctx, j, job.Failed, fmt.Sprintf("after %d rounds of verification %d rows still match `where` and %d fail `check`; among them %s",
			j.Round, result.Residual, result.CheckFails, keys(result.Failing)))
	}
	return l.finish(ctx, j)
}

func (l *leadership) startRound(ctx context.Context, j job.Job, round int) error {
	j, err := l.ledger.StartRound(ctx, j.ID, round)
	if err == nil && j.Round == round {
		l.log.Info("verification round begins", zap.String("job", j.Name), zap.Int("round", j.Round))
		l.ring()
	}
	return err
}

// finish ends a job that a round has found nothing in, once every replica holds all of it.
func (l *leadership) finish(ctx context.Context, j job.Job) error {
	lsn, err := l.ledger.EndLSN(ctx, j.ID)
	if err != nil {
		return err
	}
	behind, err := l.ledger.NotFlushed(ctx, lsn)
	if err != nil {
		return err
	}
	missing, known := l.gov.missing()
	if !known {
		return nil // who is away is about to be read
	}
	var wait []string
	for _, name := range append(behind, missing...) {
		if j.Limits.Throttle.Replicas[name] != "ignore" {
			wait = append(wait, name)
		}
	}
	if len(wait) > 0 {
		l.explain(ctx, j, "verified; waits until these replicas have flushed it: "+strings.Join(wait, ", "))
		return nil
	}
	return l.end(ctx, j, job.Complete, "")
}

// end writes the report and ends the job as it deserves.
func (l *leadership) end(ctx context.Context, j job.Job, to job.State, reason string) error {
	began := time.Now()
	report, err := l.ledger.BuildReport(ctx, j.ID)
	if err != nil {
		return err
	}
	if to == job.Complete {
		to, reason = judge(report)
		report.Verified = to != job.Failed
	}
	j, err = l.ledger.End(ctx, j.ID, to, reason, report)
	if err != nil || !j.State.Ended() {
		return err
	}
	l.c.traced(ctx, "end", began, j, nil, observe.TraceState.String(string(j.State)), observe.TraceRows.Int64(report.Rows))
	l.log.Info("job ended", zap.String("job", j.Name), zap.String("state", string(j.State)), zap.String("reason", j.Reason), zap.Int64("rows", report.Rows))
	return nil
}

// judge decides what a job that found nothing open may be called.
func judge(r job.Report) (job.State, string) {
	for _, c := range r.Coverage {
		if len(c.Gaps) > 0 {
			return job.Failed, fmt.Sprintf("the ranges of %s do not cover it: %s", c.Relation, strings.Join(c.Gaps, "; "))
		}
	}
	switch {
	case len(r.Skipped) > 0:
		return job.CompleteWithErrors, fmt.Sprintf("%d ranges were skipped", len(r.Skipped))
	case len(r.Quarantined) > 0:
		return job.CompleteWithErrors, fmt.Sprintf("%d rows are in quarantine; `backfleet retry` tries them again", len(r.Quarantined))
	}
	return job.Complete, ""
}

func keys(ks []ranges.Key) string {
	if len(ks) == 0 {
		return "none named"
	}
	texts := make([]string, len(ks))
	for i, k := range ks {
		texts[i] = k.String()
	}
	return strings.Join(texts, ", ")
}
