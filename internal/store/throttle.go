package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Hold stops every batch of the database for a time; Release frees it. Any psql can do the same by backfleet.hold().
func (s *Store) Hold(ctx context.Context, by, reason string, d time.Duration) (until time.Time, err error) {
	err = s.tx(ctx, "hold", func(tx pgx.Tx) error {
		var old *time.Time
		if err := tx.QueryRow(ctx, q("brake_on"), d.Seconds(), by, reason).Scan(&old, &until); err != nil {
			return err
		}
		detail := map[string]any{"old": old, "new": until}
		if reason != "" {
			detail["reason"] = reason
		}
		return event(ctx, tx, "", by, "hold", detail)
	})
	return until, err
}

// Release takes the brake off.
func (s *Store) Release(ctx context.Context, by string) error {
	return s.tx(ctx, "release", func(tx pgx.Tx) error {
		var old *time.Time
		if err := tx.QueryRow(ctx, q("brake_off")).Scan(&old); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return event(ctx, tx, "", by, "release", map[string]any{"old": old, "new": nil})
	})
}

// Brake reads whether the database is held, and by what.
func (s *Store) Brake(ctx context.Context) (b job.Brake, on bool, err error) {
	err = s.pool.QueryRow(ctx, q("brake")).Scan(&b.Until, &b.By, &b.Reason)
	if errors.Is(err, pgx.ErrNoRows) {
		return job.Brake{}, false, nil
	}
	return b, err == nil, err
}

// Throttle reads what was set for all jobs of the database together, and its revision. An override whose time is over by the
// database's clock is not there any more.
func (s *Store) Throttle(ctx context.Context) (job.DatabaseRules, int64, error) {
	rules, revision, _, err := scanThrottle(s.pool.QueryRow(ctx, q("throttle")))
	if err != nil {
		return rules, 0, s.explain("read the throttle", err)
	}
	return rules, revision, nil
}

// scanThrottle reads the rules without an override whose time is over.
func scanThrottle(row pgx.Row) (rules job.DatabaseRules, revision int64, now time.Time, err error) {
	err = row.Scan(&rules, &revision, &now)
	if rules.Override != nil && !rules.Override.Until.After(now) {
		rules.Override = nil
	}
	return rules, revision, now, err
}

// SetThrottle replaces the caps of the database; an override stands as it is. ifRevision refuses a change that was made from
// an older view; 0 does not ask.
func (s *Store) SetThrottle(ctx context.Context, by string, rules job.DatabaseRules, ifRevision int64) (job.DatabaseRules, int64, error) {
	return s.throttle(ctx, by, "throttle set", ifRevision, func(old job.DatabaseRules, _ time.Time) job.DatabaseRules {
		rules.Override = old.Override
		return rules
	})
}

// Override sets the rate of every job of the database, 0 to 1 of its full one, for a time by the database's clock: until then
// it takes the place of their windows.
func (s *Store) Override(ctx context.Context, by string, rate float64, d time.Duration) (job.DatabaseRules, int64, error) {
	return s.throttle(ctx, by, "throttle override", 0, func(rules job.DatabaseRules, now time.Time) job.DatabaseRules {
		rules.Override = &job.Override{Rate: rate, Until: now.Add(d), By: by}
		return rules
	})
}

// EndOverride lets the jobs' windows decide again. Where there is no override it changes nothing.
func (s *Store) EndOverride(ctx context.Context, by string) (job.DatabaseRules, int64, error) {
	return s.throttle(ctx, by, "throttle override end", 0, func(rules job.DatabaseRules, _ time.Time) job.DatabaseRules {
		rules.Override = nil
		return rules
	})
}

// throttle changes the rules of the database and writes the audit log.
func (s *Store) throttle(ctx context.Context, by, action string, ifRevision int64, change func(old job.DatabaseRules, now time.Time) job.DatabaseRules) (
	next job.DatabaseRules, revision int64, err error,
) {
	if ifRevision == 0 {
		ifRevision = s.revision
	}
	err = s.tx(ctx, action, func(tx pgx.Tx) error {
		old, have, now, err := scanThrottle(tx.QueryRow(ctx, q("throttle_lock")))
		if err != nil {
			return err
		}
		if ifRevision != 0 && ifRevision != have {
			return &RevisionError{fmt.Sprintf("the throttle of database %q", s.database), have, ifRevision}
		}
		next = change(old, now)
		if err := tx.QueryRow(ctx, q("throttle_set"), jsonb{next}).Scan(&revision); err != nil {
			return err
		}
		return event(ctx, tx, "", by, action, map[string]any{"old": old, "new": next})
	})
	return next, revision, err
}
