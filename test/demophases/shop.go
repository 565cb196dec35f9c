package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/harness"
)

// shop is the application: its releases write and read the old schema, both, or the new one. It journals every address that it writes.
type shop struct {
	pool    *pgxpool.Pool
	load    *harness.Load
	rows    int64
	release atomic.Int32
	reading sync.RWMutex // held by each read

	old, new, wrong atomic.Int64 // answers by the schema that they came from, and those that were not right
	slowest         atomic.Int64 // of a write, in nanoseconds, since it was last asked
}

// The releases of the application.
const (
	releaseOld  = iota // writes and reads email
	releaseFlag        // reads what the flag says
	releaseBoth        // writes both, reads what the flag says
	releaseNew         // knows nothing of email
)

// writes are the statements of a release: a sign-up and a change of the address.
type writes struct{ insert, update string }

var oldWrites = writes{"INSERT INTO public.users (email) VALUES ($1)", "UPDATE public.users SET email = $1 WHERE id = $2"}

var releaseWrites = map[int32]writes{
	releaseOld: oldWrites, releaseFlag: oldWrites,
	releaseBoth: {"INSERT INTO public.users (email, email_norm) VALUES ($1, lower($1))",
		"UPDATE public.users SET email = $1, email_norm = lower($1) WHERE id = $2"},
	releaseNew: {"INSERT INTO public.users (email_norm) VALUES (lower($1))", "UPDATE public.users SET email_norm = lower($1) WHERE id = $2"},
}

// flagRead asks the flag. Reads give a user's normal address, which schema it came from, and whether it is right.
const flagRead = `SELECT CASE WHEN f.new THEN email_norm ELSE lower(email) END, f.new, NOT f.new OR email_norm IS NOT DISTINCT FROM lower(email)
	FROM public.users, backfleet.flag('` + migrationName + `', id::text) AS f(new) WHERE id = $1`

var releaseReads = map[int32]string{
	releaseOld:  "SELECT lower(email), false, true FROM public.users WHERE id = $1",
	releaseFlag: flagRead, releaseBoth: flagRead,
	releaseNew: "SELECT email_norm, true, email_norm IS NOT NULL FROM public.users WHERE id = $1",
}

// openShop starts the application's traffic: four clients, 300 operations a second.
func openShop(ctx context.Context, dsn string, rows int) (*shop, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "shop"
	config.MaxConns = 4
	s := &shop{rows: int64(rows)}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	writer := harness.Writer{Pool: s.pool, Clients: 4, Rate: 300, Ops: []harness.Op{
		{Name: "read", Weight: 6, Run: s.read}, {Name: "change", Weight: 3, Run: s.change}, {Name: "sign up", Weight: 1, Run: s.signUp},
	}}
	s.load = writer.Start(ctx)
	return s, nil
}

func (s *shop) close() {
	s.load.Stop()
	s.pool.Close()
}

func (s *shop) anybody(r *rand.Rand) int64 { return 1 + r.Int64N(s.rows) }

func address(r *rand.Rand) string { return fmt.Sprintf("Someone.%d@Example.ORG", r.Uint64()) }

func (s *shop) read(ctx context.Context, pool *pgxpool.Pool, r *rand.Rand) error {
	var text *string
	var fresh, right bool
	s.reading.RLock()
	defer s.reading.RUnlock()
	if err := pool.QueryRow(ctx, releaseReads[s.release.Load()], s.anybody(r)).Scan(&text, &fresh, &right); err != nil {
		return err
	}
	switch {
	case text == nil || !right:
		s.wrong.Add(1)
	case fresh:
		s.new.Add(1)
	default:
		s.old.Add(1)
	}
	return nil
}

func (s *shop) change(ctx context.Context, pool *pgxpool.Pool, r *rand.Rand) error {
	id, email := s.anybody(r), address(r)
	return s.write(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, releaseWrites[s.release.Load()].update, email, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, journal, id, email)
		return err
	})
}

func (s *shop) signUp(ctx context.Context, pool *pgxpool.Pool, r *rand.Rand) error {
	email := address(r)
	return s.write(ctx, pool, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, releaseWrites[s.release.Load()].insert+" RETURNING id", email).Scan(&id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, journal, id, email)
		return err
	})
}

// journal is written in the transaction of the write, under its row's lock, so that the journal's order is that of the writes.
const journal = "INSERT INTO public.journal (user_id, email) VALUES ($1, $2)"

func (s *shop) write(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	began := time.Now()
	err := pgx.BeginFunc(ctx, pool, fn)
	took := int64(time.Since(began))
	for was := s.slowest.Load(); took > was && !s.slowest.CompareAndSwap(was, took); was = s.slowest.Load() {
	}
	return err
}

// slowestWrite is how long the slowest write took since it was last asked.
func (s *shop) slowestWrite() time.Duration { return time.Duration(s.slowest.Swap(0)) }

// share watches so many reads and says what part of them the new schema answered.
func (s *shop) share(ctx context.Context, reads int64) (percent float64, err error) {
	s.reading.Lock() // the reads under way began before what came before
	oldBefore, newBefore := s.old.Load(), s.new.Load()
	s.reading.Unlock()
	err = until(ctx, "the application has read enough", 30*time.Second, func() (bool, error) {
		return s.old.Load()-oldBefore+s.new.Load()-newBefore >= reads, nil
	})
	from := s.new.Load() - newBefore
	return 100 * float64(from) / float64(max(1, from+s.old.Load()-oldBefore)), err
}

// unharmed says that no operation failed and no answer was wrong, ever.
func (s *shop) unharmed() error {
	stats := s.load.Stats()
	if stats.All.Errors > 0 {
		for name, op := range stats.Ops {
			if op.Errors > 0 {
				return fmt.Errorf("%d times the application failed to %s, last with: %w", op.Errors, name, op.LastError)
			}
		}
	}
	if wrong := s.wrong.Load(); wrong > 0 {
		return errors.New(thousands(wrong) + " answers to the application were wrong")
	}
	return nil
}
