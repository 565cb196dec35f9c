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
	verifyEvery = 200 * time.Millisecond
	mostRounds  = 3 // of verification and repair
)

// verify leads each job whose ranges are done to its proof: coverage without gaps, and residual and check counted through the fleet
// until a round finds nothing. In block order a row that moves may be missed by a round, so the last word is that of one snapshot of the
// whole table after it. `complete` means that, and that every replica has it.
func (l *leadership) verify(ctx context.Context) {
	looks := newLooks(ctx, l)
	defer looks.wait()
	l.turns(ctx, verifyEvery, within(longestTick, func(ctx context.Context) {
		l.each(ctx, func(j job.Job) bool { return j.State.Active() && j.Planned }, func(j job.Job) {
			if err := l.prove(ctx, looks, j); err != nil {
				l.complain(ctx, "verification stopped for now", err, zap.String("job", j.Name))
			}
		})
	}))
}

func (l *leadership) prove(ctx context.Context, looks *looks, j job.Job) error {
	open, err := l.ledger.HasOpen(ctx, j.ID)
	if err != nil || open {
		return err
	}
	// The snapshot may be older than the last range: decide on the job as it stands.
	if j, err = l.ledger.Get(ctx, j.ID); err != nil || !j.State.Active() || !j.Planned {
		return err
	}
	if failed, err := l.ledger.FailedRanges(ctx, j.ID); err != nil || len(failed) > 0 {
		if err != nil {
			return err
		}
		_, err = l.ledger.Pause(ctx, j.ID, "backfleet", fmt.Sprintf("ranges failed: %s; `backfleet retry %s` tries them again", strings.Join(failed, "; "), j.Name))
		return err
	}
	attached, err := l.newLeaves(ctx, j)
	if err != nil {
		return err
	}
	if len(attached) > 0 {
		l.log.Info("leaf partitions attached since the plan", zap.String("job", j.Name), zap.Int("leaves", len(attached)))
		return l.ledger.Freeze(ctx, j, attached)
	}
	if j.State == job.Running {
		return l.startRound(ctx, j, 1)
	}
	result, err := l.ledger.RoundResult(ctx, j.ID, j.Round)
	if err != nil {
		return err
	}
	if j.Order == job.OrderBlock {
		look := j.LastLook
		if look == nil || look.Round != j.Round {
			looks.begin(j)
			return nil
		}
		result = store.RoundResult{Residual: look.Residual, CheckFails: look.CheckFails, Failing: look.Failing}
	}
	left := result.Residual + result.CheckFails
	if left > 0 && j.Round < mostRounds {
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
