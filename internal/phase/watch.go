package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/migration"
)

// checkLag is the lag of a replica above which a check waits.
const checkLag = 5 * time.Second

// Watched is what the watch of a migration has seen.
type Watched struct {
	Series  []divergence.Round  `json:"series"`  // of the last while
	Growth  []divergence.Bucket `json:"growth"`  // when rows came to diverge, and who was at work then
	Rows    []divergence.Row    `json:"rows"`    // that diverge, some of them
	Verdict string              `json:"verdict"` // empty: nothing diverges
}

// Check walks both schemas once, whole, at the watch's bounded rate, and says what diverges. A coordinator does the same by itself, round
// after round.
func (g *Guard) Check(ctx context.Context, name string) (Watched, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return Watched{}, err
	}
	if err := over(m, "check"); err != nil {
		return Watched{}, err
	}
	switch f := m.Facts; {
	case f.DualWrite == nil:
		return Watched{}, &WrongStepError{name, "check", "the schemas are not both written yet", "begin that with: backfleet phase dual-write " + name}
	case f.Stopped != nil:
		return Watched{}, &WrongStepError{name, "check", "dual-write has stopped, so the old schema is stale since then", "go on with: backfleet phase show " + name}
	}
	begun := time.Now()
	w := divergence.Walker{Pool: g.Pool, Ledger: g.Store, Hold: func(ctx context.Context) (string, error) { return divergence.Held(ctx, g.Pool, checkLag) },
		Held: func(why string) {
			if why != "" {
				g.tell("the check waits: %s", why)
			}
		}}
	if err := w.Round(ctx, m); err != nil {
		return Watched{}, fmt.Errorf("migration %s: check: %w", name, err)
	}
	return g.Watched(ctx, name, begun.Add(-time.Minute))
}

// Watched reads what the watch has seen since then.
func (g *Guard) Watched(ctx context.Context, name string, since time.Time) (w Watched, err error) {
	if w.Series, err = g.Store.Series(ctx, name, since); err != nil {
		return w, err
	}
	if w.Growth, err = g.Store.Growth(ctx, name); err != nil {
		return w, err
	}
	if w.Rows, err = g.Store.Diverging(ctx, name, rowsShown); err != nil {
		return w, err
	}
	if n := len(w.Series); n > 0 {
		if r := w.Series[n-1]; r.Diverging() > 0 {
			w.Verdict = fmt.Sprintf("%d rows diverge: %d missing, %d differing, %d without an old row", r.Diverging(), r.Missing, r.Differing, r.Orphans)
		}
	}
	return w, nil
}

// rowsShown are so many of the rows that diverge.
const rowsShown = 20

// divergence is what the gates go by.
func (g *Guard) divergence(ctx context.Context, m migration.Migration) (migration.Divergence, error) {
	return g.Store.Divergence(ctx, m.Spec.Name)
}
