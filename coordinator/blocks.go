package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

const (
	blocksRange     = 2_048      // 16 MB: a few tens of milliseconds
	blocksMost      = 40_000_000 // 300 GB: more takes longer than a snapshot may stand
	mostBlockRounds = 2          // begun, of which none came to its end
)

// startBlocks begins a round that reads blocks, or where that cannot be, one that walks keys.
func (v *verification) startBlocks(ctx context.Context, j job.Job) error {
	byKey := func(why string) error {
		if why != "" {
			v.log.Info("verification walks keys", zap.String("job", j.Name), zap.String("reason", why))
		}
		return v.startRound(ctx, j, j.Round+1)
	}
	switch {
	case j.Spec.Where == "" && j.Spec.Check == "":
		return byKey("")
	case j.Limits.Verify.Snapshot == 0:
		return byKey("verify.snapshot is 0")
	case j.BlockRounds >= mostBlockRounds:
		return byKey(fmt.Sprintf("none of %d rounds in block order came to its end", j.BlockRounds))
	}
	if skipped, err := v.ledger.AnySkipped(ctx, j.ID); err != nil {
		return err
	} else if skipped {
		return byKey("ranges were skipped: their rows have no part in it")
	}
	before, err := v.ledger.Files(ctx, j.ID)
	if err != nil {
		return err
	}
	s, err := v.takeSnapshot(ctx, j)
	if err != nil {
		return err
	}
	files, err := v.ledger.Files(ctx, j.ID)
	if err == nil && !sameFiles(before, files) {
		err = errors.New("a relation was rewritten or dropped while the snapshot was taken; it is taken anew")
	}
	if err != nil {
		s.close()
		return err
	}
	var blocks int64
	for _, f := range files {
		blocks += f.Blocks
	}
	if blocks > blocksMost {
		s.close()
		return byKey(fmt.Sprintf("%d blocks are more than are read while one snapshot may stand", blocks))
	}
	began, err := v.ledger.StartBlocks(ctx, j.ID, j.Round+1, s.name, files, blocksRange)
	if err != nil || began.Snapshot != s.name {
		s.close()
		return err
	}
	v.letGo(func(id job.ID) bool { return id == j.ID })
	v.held[j.ID] = s
	v.log.Info("verification round begins", zap.String("job", j.Name), zap.Int("round", began.Round), zap.Int64("blocks", blocks))
	v.ring()
	return nil
}

// sameFiles reports whether relations lie in the files that they lay in. A snapshot may see nothing of a file that an ALTER TABLE wrote after
// it was taken, for that is not written as of old: only a file that was there before the snapshot is read in it.
func sameFiles(before, after []store.File) bool {
	return slices.EqualFunc(before, after, func(a, b store.File) bool { return a.Relation == b.Relation && a.Filenode == b.Filenode })
}

// watch sees to it that the snapshot of a round under way stands, and not for too long.
func (v *verification) watch(ctx context.Context, j job.Job) error {
	if j.State != job.Verifying || j.Snapshot == "" {
		return nil
	}
	s := v.held[j.ID]
	if s == nil || s.name != j.Snapshot {
		return v.giveUp(ctx, j, "the snapshot of the round is not this coordinator's, or not any more")
	}
	now := time.Now()
	if most := j.Limits.Verify.Snapshot.D(); now.Sub(s.since) > most {
		if err := v.giveUp(ctx, j, fmt.Sprintf("its snapshot is older than verify.snapshot, %s: no vacuum removes what is dead since", most)); err != nil {
			return err
		}
		return v.startRound(ctx, j, j.Round+1)
	}
	if lost := s.stands(ctx, now); lost != "" {
		return v.giveUp(ctx, j, lost)
	}
	return nil
}

// giveUp takes the present round in block order back, if it is still that of the snapshot.
func (v *verification) giveUp(ctx context.Context, j job.Job, why string) error {
	if err := v.ledger.GiveUpBlocks(ctx, j.ID, j.Snapshot, why); err != nil {
		return err
	}
	v.log.Info("verification round given up", zap.String("job", j.Name), zap.Int("round", j.Round), zap.String("reason", why))
	v.letGo(func(id job.ID) bool { return id == j.ID && v.held[id].name == j.Snapshot })
	return nil
}

// drop ends the snapshots of jobs that are not verified now: a pause may last for days.
func (v *verification) drop() {
	if len(v.held) == 0 {
		return
	}
	there := map[job.ID]job.Job{}
	for _, j := range v.snapshot() {
		there[j.ID] = j
	}
	v.letGo(func(id job.ID) bool {
		j, ok := there[id]
		return !ok || !j.State.Active()
	})
}

// letGo ends the snapshots of those jobs.
func (v *verification) letGo(of func(job.ID) bool) {
	for id, s := range v.held {
		if of(id) {
			s.close()
			delete(v.held, id)
		}
	}
}
