// Package phase carries migrations without downtime from step to step, and refuses every step before its gate is open.
//
// A step is one transaction: its DDL, what the ledger says of it, and the line in the audit log are committed together or not at all, so
// that a process that is killed anywhere leaves the step undone or done. What Postgres does not let into a transaction is looked for in
// the catalog and gone on with.
package phase

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
)

// Guard carries the migrations of one database. Its pool's role must own the tables, or be a member of their owner, for what changes a schema.
type Guard struct {
	Store *store.Store
	Pool  *pgxpool.Pool
	// By is who the audit log names.
	By string
	// Now tells the time that the gates go by; nil asks the database.
	Now func(context.Context) (time.Time, error)
	// Jobs submits the backfill; see [Jobs].
	Jobs Jobs
	// Tell gets a line for each thing that happens on the way; nil is silent.
	Tell func(line string)
	// Patience is how long a step tries for its locks; 0 is [DefaultPatience].
	Patience time.Duration
	// LockTimeout is how long one try waits for a lock, and so may hold up the application behind it; 0 is that of [ddl.LockTimeout], which is
	// just long enough that an autovacuum in the way is cancelled.
	LockTimeout time.Duration
}

// Jobs is what the guard needs of jobs.
type Jobs interface {
	// Submit stores the job, or returns the one that is there.
	Submit(ctx context.Context, spec job.Spec) (job.Job, error)
}

// DefaultPatience is how long a step tries for its locks.
const DefaultPatience = 10 * time.Minute

// lookLockMost is how long a look, which changes nothing, waits for a lock.
const lookLockMost = time.Second

// GateError says that a gate is not open: nothing was changed.
type GateError struct {
	Migration string
	Gate      migration.Gate
	Unmet     []migration.Condition
}

func (e *GateError) Error() string {
	lines := make([]string, len(e.Unmet))
	for i, c := range e.Unmet {
		lines[i] = fmt.Sprintf("migration %s: gate %s: not yet: %s", e.Migration, e.Gate, c.What)
		if c.Found != "" {
			lines[i] += ": " + c.Found
		}
		if c.Fix != "" {
			lines[i] += "; " + c.Fix
		}
	}
	return strings.Join(lines, "\n")
}

// WrongStepError says that a step makes no sense where the migration stands.
type WrongStepError struct{ Migration, Step, Why, Fix string }

func (e *WrongStepError) Error() string {
	return fmt.Sprintf("migration %s: %s: %s; %s", e.Migration, e.Step, e.Why, e.Fix)
}

func (g *Guard) now(ctx context.Context) (t time.Time, err error) {
	if g.Now != nil {
		return g.Now(ctx)
	}
	if err := g.Pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&t); err != nil {
		return t, fmt.Errorf("read the clock of database %q: %w", g.Store.Database(), err)
	}
	return t, nil
}

func (g *Guard) tell(format string, args ...any) {
	if g.Tell != nil {
		g.Tell(fmt.Sprintf(format, args...))
	}
}

// step is one step of a migration: the gate before it, what it does, and what the audit log says.
type step struct {
	action string
	gate   migration.Gate // empty: none
	to     int            // of a step of the ramp
	// done says that the step was taken already, so that nothing is asked any more; nil: never. A step that was committed while its process
	// died can thus be repeated.
	done func(migration.Migration) bool
	// may refuses where the step makes no sense; nil lets it.
	may func(migration.Migration) error
	// do changes facts, and the schema through tx. A nil detail means that there was nothing to do.
	do func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (detail map[string]any, err error)
}

// take takes a step: it judges the gate, and then does all in one transaction in which nobody else can move the migration. Where somebody
// did between the two, it judges again.
func (g *Guard) take(ctx context.Context, name string, s step) (m migration.Migration, err error) {
	for {
		m, err = g.Store.Migration(ctx, name)
		if err != nil {
			return m, err
		}
		if m, err = g.settle(ctx, m); err != nil {
			return m, err
		}
		if s.done != nil && s.done(m) {
			return m, nil
		}
		now, err := g.now(ctx)
		if err != nil {
			return m, err
		}
		if err := g.before(ctx, m, s, now); err != nil {
			return m, err
		}
		judged, moved := m.Revision, false
		err = g.short(ctx, s.action+" "+name, func(tx pgx.Tx) (err error) {
			moved = false
			m, err = g.Store.MoveMigration(ctx, tx, store.Move{Name: name, By: g.By, Action: s.action, Now: now,
				Change: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts) (map[string]any, error) {
					if m.Revision != judged {
						moved = true
						return nil, nil
					}
					return s.do(ctx, tx, m, facts, now)
				}})
			return err
		})
		if err != nil || !moved {
			return m, err
		}
	}
}

// before refuses a step that makes no sense where the migration stands, or whose gate is not open.
func (g *Guard) before(ctx context.Context, m migration.Migration, s step, now time.Time) error {
	if err := over(m, s.action); err != nil {
		return err
	}
	if s.may != nil {
		if err := s.may(m); err != nil {
			return err
		}
	}
	if s.gate == "" {
		return nil
	}
	if next, _ := m.Facts.Next(); slices.Index(migration.Gates, next) < slices.Index(migration.Gates, s.gate) {
		return &WrongStepError{m.Spec.Name, s.action, "gate " + string(next) + " comes first", "go on with: " + Command(m)}
	}
	return g.judge(ctx, m, s.gate, s.to, now)
}

// over refuses every step of a migration that has ended.
func over(m migration.Migration, action string) error {
	switch name := m.Spec.Name; {
	case m.Facts.Abandoned != nil:
		return &WrongStepError{name, action, "the migration was abandoned", "begin another one with a name of its own: backfleet phase start"}
	case m.Facts.Dropped != nil:
		return &WrongStepError{name, action, "the migration is done, and the old schema is dropped", "see: backfleet phase show " + name}
	}
	return nil
}

// Command is the command that takes the step behind the gate which the migration meets next; empty where it is over.
func Command(m migration.Migration) string {
	name := m.Spec.Name
	switch gate, open := m.Facts.Next(); {
	case !open:
		return ""
	case gate == migration.GateReads:
		return "backfleet phase switch " + name + " --to " + strconv.Itoa(m.Facts.Step())
	default:
		return "backfleet phase " + string(gate) + " " + name
	}
}

// judge refuses where the gate is not open and no override passes it.
func (g *Guard) judge(ctx context.Context, m migration.Migration, gate migration.Gate, to int, now time.Time) error {
	evidence, err := g.evidence(ctx, m, now)
	if err != nil {
		return err
	}
	var unmet []migration.Condition
	for _, c := range migration.Unmet(m.Spec.Conditions(gate, m.Facts, evidence, to)) {
		if !m.Facts.Overridden(gate, c) {
			unmet = append(unmet, c)
		}
	}
	if len(unmet) > 0 {
		return &GateError{m.Spec.Name, gate, unmet}
	}
	return nil
}
