package divergence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// What a walk may cost, unless it is told otherwise.
const (
	DefaultRate  = 20000 // rows a second
	DefaultShare = 0.2   // of one session's time: a step that took 50 ms is followed by 200 ms of rest

	stepKeys      = 2000 // of a step, unless it fails
	mostFound     = 1000 // diverging rows that a step lists
	saveEvery     = time.Second
	heldEvery     = time.Second // how often a held walk looks again
	stepTimeout   = 5 * time.Second
	lockTimeout   = time.Second
	surveyTimeout = 10 * time.Second
)

// Walker walks both schemas of migrations. It only reads them; what it finds goes to the ledger, with the position from which the next one
// goes on, so a walk may end anywhere. Several may walk at once: they share the way.
type Walker struct {
	Pool   *pgxpool.Pool
	Ledger Ledger
	// Hold says why no step may begin now; empty lets it begin.
	Hold func(context.Context) (why string, err error)
	// Note closes the entry of activity that is under way, so that what is found now has one of its own; nil: nobody notes any.
	Note  func(context.Context) error
	Rate  int     // rows a second; 0 is [DefaultRate]
	Share float64 // of one session's time; 0 is [DefaultShare]
	// Held is told when the walk begins to wait, with the reason, and with none when it goes on; nil tells nobody.
	Held func(why string)
}

// Walk goes on with the round under way, or begins the next one, for about as long as limit. ended says that the round ended.
func (w *Walker) Walk(ctx context.Context, m migration.Migration, limit time.Duration) (ended bool, err error) {
	until := time.Now().Add(limit)
	at, err := w.walk(ctx, m, false, func(Position) bool { return time.Now().After(until) })
	return err == nil && !at.Walking, err
}

// Round walks one whole round that begins now; one under way is abandoned. What others walk of it meanwhile need not be walked again.
func (w *Walker) Round(ctx context.Context, m migration.Migration) error {
	at, err := w.walk(ctx, m, true, func(Position) bool { return false })
	if err == nil && at.Walking {
		return errors.New("the round did not end")
	}
	return err
}

// walk makes steps until the round ends or enough says so.
func (w *Walker) walk(ctx context.Context, m migration.Migration, anew bool, enough func(Position) bool) (Position, error) {
	s, err := w.survey(ctx, m)
	if err != nil {
		return Position{}, err
	}
	round := 0 // that this walk is for; 0: whichever
	for {
		watch, err := w.Ledger.Watch(ctx, m.Spec.Name)
		if err != nil {
			return Position{}, err
		}
		if round != 0 && (watch.Round > round || watch.Round == round && !watch.Walking) {
			return Position{Round: round}, nil // others brought it to its end
		}
		s.judged.Since = watch.SinceXID
		if m.Facts.WrittenBy != migration.ByTrigger {
			s.judged.Since = 0
		}
		at := watch.Position
		if anew && (round == 0 || watch.Round < round) || !at.Walking {
			at = Position{Round: at.Round + 1, Walking: true}
		}
		if anew {
			round = at.Round
		}
		at, err = w.stride(ctx, s, watch, at, enough)
		if !errors.Is(err, ErrWatchMoved) {
			return at, err
		}
	}
}

// stride makes steps and stores them, now and then.
func (w *Walker) stride(ctx context.Context, s *survey, watch Watch, at Position, enough func(Position) bool) (Position, error) {
	fresh := func(from Position) Stride {
		return Stride{From: from, Before: watch.Before, CommitsAt: s.commits, Tables: s.tables}
	}
	x, saved := fresh(watch.Position), time.Now()
	for {
		if err := w.hold(ctx); err != nil {
			return at, err
		}
		began := time.Now()
		step, err := s.step(ctx, w.Pool, at)
		if err != nil {
			return at, err
		}
		took := time.Since(began)
		x.Tally, x.Found, x.More, x.Took = x.Tally.Plus(step.tally), append(x.Found, step.found...), x.More || step.more, x.Took+took
		at = step.next
		stop := enough(at)
		if len(x.Found) > 0 || !at.Walking || stop || time.Since(saved) >= saveEvery {
			if len(x.Found) > 0 && w.Note != nil {
				if err := w.Note(ctx); err != nil {
					return at, err
				}
			}
			x.To = at
			if err := w.Ledger.AddStride(ctx, s.pair.Name, x); err != nil {
				return at, err
			}
			x, saved = fresh(at), time.Now()
		}
		if stop || !at.Walking {
			return at, nil
		}
		if err := sleep(ctx, w.rest(step.tally.Walked, took)); err != nil {
			return at, err
		}
	}
}

// rest is how long to wait after a step, so that neither the rate nor the share is exceeded.
func (w *Walker) rest(rows int64, took time.Duration) time.Duration {
	rate, share := w.Rate, w.Share
	if rate == 0 {
		rate = DefaultRate
	}
	if share == 0 {
		share = DefaultShare
	}
	byRate := time.Duration(float64(rows) / float64(rate) * float64(time.Second))
	return max(byRate, time.Duration(float64(took)/share)) - took
}

// hold returns once a step may begin.
func (w *Walker) hold(ctx context.Context) error {
	if w.Hold == nil {
		return nil
	}
	told := ""
	for {
		why, err := w.Hold(ctx)
		if err != nil {
			return err
		}
		if why != told && w.Held != nil {
			w.Held(why)
		}
		if told = why; why == "" {
			return nil
		}
		if err := sleep(ctx, heldEvery); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// survey is what a walk must know of the tables.
type survey struct {
	pair    dualwrite.Pair
	judged  dualwrite.Judged
	sides   []dualwrite.Side
	commits bool // the server keeps commit timestamps
	tables  []string
	keys    int // of the next step
}

func settings(searchPath string) postgres.Settings {
	return postgres.Settings{Application: "backfleet watch", SearchPath: searchPath, SynchronousCommit: "off", LockTimeout: lockTimeout, StatementTimeout: stepTimeout}
}

func (w *Walker) survey(ctx context.Context, m migration.Migration) (*survey, error) {
	s := &survey{keys: stepKeys, judged: dualwrite.Judged{Direction: dualwrite.Forward, Filled: m.Facts.Backfilled != nil}}
	if m.Facts.Percent > 0 && len(m.Spec.Backward) > 0 {
		s.judged.Direction = dualwrite.Both
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	err := postgres.InTx(ctx, w.Pool, settings("pg_catalog, pg_temp"), func(tx pgx.Tx) (err error) {
		if s.pair, err = dualwrite.Load(ctx, tx, m.Spec, m.Facts.SearchPath); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT current_setting('track_commit_timestamp') = 'on'").Scan(&s.commits)
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", m.Spec.Name, err)
	}
	s.sides = s.pair.Sides()
	for _, side := range s.sides {
		s.tables = append(s.tables, side.Table.Name)
		slices.SortFunc(side.Table.Leaves, func(a, b catalog.Leaf) int { return compare(a.String(), b.String()) })
	}
	return s, nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// step is one look at the rows of a span.
type step struct {
	next  Position
	tally Tally
	found []Found
	more  bool
}

// step looks at the rows from a position on. A row that the expression fails for is found by halving the step, and counted.
func (s *survey) step(ctx context.Context, pool *pgxpool.Pool, at Position) (step, error) {
	leaf, lo, ok := s.leaf(&at)
	if !ok {
		return step{next: Position{Round: at.Round}}, nil
	}
	for {
		x, err := s.look(ctx, pool, at, leaf, lo)
		switch class := postgres.Classify(err); {
		case err == nil:
			s.keys = min(s.keys*2, stepKeys)
			return x, nil
		case ctx.Err() != nil:
			return x, ctx.Err()
		case s.keys > 1 && (class == postgres.Data || class == postgres.Contention):
			s.keys = max(s.keys/8, 1)
		case class == postgres.Data:
			s.keys = 2
			return s.failing(ctx, pool, at, leaf, lo)
		default:
			return x, fmt.Errorf("watch %s: compare rows of %s: %w", s.pair.Name, leaf, err)
		}
	}
}

// leaf is the relation at a position, and where in it; false past the last. A leaf that is gone is passed over.
func (s *survey) leaf(at *Position) (leaf catalog.Leaf, lo ranges.Key, ok bool) {
	for ; at.Side < len(s.sides); at.Side, at.Leaf, at.Key = at.Side+1, "", nil {
		for _, l := range s.sides[at.Side].Table.Leaves {
			if l.String() < at.Leaf {
				continue
			}
			if l.String() != at.Leaf {
				at.Leaf, at.Key = l.String(), nil
			}
			return l, at.Key, true
		}
	}
	return catalog.Leaf{}, nil, false
}

// after is the position behind a span: at its end, or at the next leaf where it has none.
func (s *survey) after(at Position, hi ranges.Key) Position {
	if hi != nil {
		at.Key = hi
		return at
	}
	at.Leaf, at.Key = at.Leaf+"\x01", nil // sorts before every other leaf that follows
	if _, _, ok := s.leaf(&at); !ok {
		return Position{Round: at.Round}
	}
	return at
}

func (s *survey) inTx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	return postgres.InTx(ctx, pool, settings(s.pair.SearchPath), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET TRANSACTION READ ONLY"); err != nil {
			return err
		}
		// A step is a few thousand keys of an index, whatever the statistics say.
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (s *survey) look(ctx context.Context, pool *pgxpool.Pool, at Position, leaf catalog.Leaf, lo ranges.Key) (x step, err error) {
	side := s.sides[at.Side]
	err = s.inTx(ctx, pool, func(tx pgx.Tx) error {
		end := side.Step(leaf, ranges.Span{Lo: lo}, s.keys)
		hi, err := statement.OneKey(tx.Query(ctx, end.Text, end.Unkept()...))
		if err != nil {
			return err
		}
		sql := s.pair.Compare(side, leaf, ranges.Span{Lo: lo, Hi: hi}, s.judged, mostFound)
		var keys, kinds []string
		var xids []int64
		t := &x.tally
		if err := tx.QueryRow(ctx, sql.Text, sql.Unkept()...).
			Scan(&t.Walked, &t.Waiting, &t.Missing, &t.Differing, &t.Orphans, &keys, &kinds, &xids); err != nil {
			return err
		}
		for i := range keys {
			x.found = append(x.found, Found{leaf.String(), keys[i], kinds[i], xids[i]})
		}
		x.more = t.Diverging() > int64(len(keys))
		x.next = s.after(at, hi)
		return nil
	})
	return x, err
}

// failing counts the one row at a position, which cannot be compared.
func (s *survey) failing(ctx context.Context, pool *pgxpool.Pool, at Position, leaf catalog.Leaf, lo ranges.Key) (x step, err error) {
	side := s.sides[at.Side]
	err = s.inTx(ctx, pool, func(tx pgx.Tx) error {
		var hi [2]ranges.Key
		for i := range hi {
			end := side.Step(leaf, ranges.Span{Lo: lo}, i)
			if hi[i], err = statement.OneKey(tx.Query(ctx, end.Text, end.Unkept()...)); err != nil {
				return err
			}
		}
		x.next = s.after(at, hi[1])
		if hi[0] == nil {
			return nil // it went meanwhile
		}
		x.tally = Tally{Walked: 1, Failing: 1}
		var key string
		if err := tx.QueryRow(ctx, "SELECT pg_catalog.to_json($1::text[])::text", []string(hi[0])).Scan(&key); err != nil {
			return err
		}
		x.found = []Found{{leaf.String(), key, string(dualwrite.Failing), 0}}
		return nil
	})
	if err != nil {
		return x, fmt.Errorf("watch %s: find a row of %s that fails: %w", s.pair.Name, leaf, err)
	}
	return x, nil
}

// TableNames are the names of a migration's tables as statements have them, without schemas.
func TableNames(spec migration.Spec) (names []string) {
	for _, t := range []string{spec.Table, spec.To.Table} {
		if _, name, err := job.SplitTable(t); err == nil && t != "" {
			names = append(names, name)
		}
	}
	return names
}
