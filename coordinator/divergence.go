package coordinator

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/observe"
)

const (
	watchedEvery = 5 * time.Second  // how often the migrations are read; while none has dual-write that is all that the watch costs
	walkFor      = 5 * time.Second  // of one migration, before the next one has its turn
	walkTimeout  = 30 * time.Second // of that, with steps and saves that take their time
	roundEvery   = time.Minute      // from one round of a small table to the next
	noteEvery    = time.Minute      // an entry of the activity
	remindEvery  = time.Minute      // of a rehearsal that is past its time
	watchLag     = 5 * time.Second  // of a replica, above which the watch waits
)

// watchDivergence compares the rows of each migration that has dual-write, in rounds, and notes meanwhile who is at work.
func (l *leadership) watchDivergence(ctx context.Context) {
	w := &watcher{leadership: l}
	w.recorder = &divergence.Recorder{Pool: l.ledger.Pool(), Ledger: l.ledger.Store, Tables: w.tables}
	var all sync.WaitGroup
	all.Go(func() { every(ctx, watchedEvery, within(walkTimeout, w.look)) })
	all.Go(func() { every(ctx, watchedEvery, w.walk) })
	all.Wait()
}

// watcher is what the watch's two loops share.
type watcher struct {
	*leadership
	recorder *divergence.Recorder

	mu      sync.Mutex
	watched []migration.Migration
	noted   time.Time

	reminded time.Time // of rehearsals; the first loop's own
}

// watches reports whether a migration's schemas are both written, so that they may diverge.
func watches(m migration.Migration) bool {
	f := m.Facts
	return f.DualWrite != nil && f.Stopped == nil && f.Dropped == nil && f.Abandoned == nil
}

// look reads which migrations there are to watch, and notes the activity.
func (w *watcher) look(ctx context.Context) {
	all, err := w.ledger.Migrations(ctx)
	if err != nil {
		w.complain(ctx, "migrations not read", err)
		return
	}
	if len(all) > 0 {
		w.remind(ctx)
	}
	var watched []migration.Migration
	for _, m := range all {
		if watches(m) {
			watched = append(watched, m)
		}
	}
	w.mu.Lock()
	w.watched = watched
	due := time.Since(w.noted) >= noteEvery
	w.mu.Unlock()
	switch {
	case len(watched) == 0:
		return
	case due:
		err = w.note(ctx)
	default:
		err = w.recorder.Look(ctx)
	}
	if err != nil {
		w.complain(ctx, "activity not noted", err)
	}
}

// remind tells of rehearsals that nobody ended: what they took away is missing still. Only the tables' owner can bring it back.
func (w *watcher) remind(ctx context.Context) {
	overdue, err := w.ledger.OverdueRehearsals(ctx)
	if err != nil {
		w.complain(ctx, "rehearsals not read", err)
		return
	}
	if len(overdue) == 0 || time.Since(w.reminded) < remindEvery {
		return
	}
	w.reminded = time.Now()
	for _, r := range overdue {
		w.log.Warn("a rehearsal is past its time; bring the old schema back with: backfleet phase undo", zap.String("migration", r.Migration), zap.Time("until", r.Until))
	}
}

func (w *watcher) note(ctx context.Context) error {
	err := w.recorder.Note(ctx)
	if err == nil {
		w.mu.Lock()
		w.noted = time.Now()
		w.mu.Unlock()
	}
	return err
}

func (w *watcher) tables() (names []string) {
	for _, m := range w.snapshotWatched() {
		names = append(names, divergence.TableNames(m.Spec)...)
	}
	return names
}

func (w *watcher) snapshotWatched() []migration.Migration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched
}

// walk gives each migration its turn.
func (w *watcher) walk(ctx context.Context) {
	for _, m := range w.snapshotWatched() {
		within(walkTimeout, func(ctx context.Context) {
			if err := w.turn(ctx, m); err != nil {
				w.complain(ctx, "divergence not watched", err, zap.String("migration", m.Spec.Name))
			}
		})(ctx)
	}
}

func (w *watcher) turn(ctx context.Context, m migration.Migration) error {
	at, err := w.ledger.Watch(ctx, m.Spec.Name)
	if err != nil {
		return err
	}
	if !at.Walking && time.Since(at.Started) < roundEvery {
		return nil
	}
	if why, err := w.held(ctx); err != nil || why != "" {
		return err
	}
	held := ""
	walker := divergence.Walker{Pool: w.ledger.Pool(), Ledger: w.ledger.Store, Hold: w.held, Note: w.note, Held: func(why string) { held = why }}
	ended, err := walker.Walk(ctx, m, walkFor)
	if held != "" {
		return nil // it stands where it was held, until its next turn
	}
	if err != nil || !ended {
		return err
	}
	series, err := w.ledger.Series(ctx, m.Spec.Name, at.Started)
	if err != nil || len(series) == 0 {
		return err
	}
	if r := series[len(series)-1]; r.Diverging() > 0 {
		w.log.Warn("rows diverge", zap.String("migration", m.Spec.Name), zap.String(observe.Table, m.Spec.Table), zap.Int("round", r.Number),
			zap.Int64("missing", r.Missing), zap.Int64("differing", r.Differing), zap.Int64("orphans", r.Orphans))
	}
	return nil
}

// held says why no row may be looked at now: what holds batches holds the watch.
func (w *watcher) held(ctx context.Context) (string, error) {
	if ok, why, known := w.gov.verdict(time.Now()); known && !ok && w.busy() {
		return "batches are held: " + why.Text, nil
	}
	return divergence.Held(ctx, w.ledger.Pool(), watchLag)
}

// busy reports whether any job is at work: else the governor's signals are those of an idle fleet.
func (w *watcher) busy() bool { return works(w.snapshot()) }
