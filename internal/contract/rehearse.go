package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// Mode is how a drop is rehearsed.
type Mode string

// Revoke takes the right to SELECT the target from all who have it and leaves them the other columns: the next reader gets 42501. Rename
// gives the target another name: the next reader or writer gets 42703.
const (
	Revoke Mode = "revoke"
	Rename Mode = "rename"
)

// Plan is a rehearsal to begin.
type Plan struct {
	Migration string
	Target    Target
	Mode      Mode
	By        string
	Until     time.Time
	// Accept are roles that will not notice, and that the caller knows to be no readers, such as a superuser of the monitoring.
	Accept []string
}

// undo is all that an undo needs, as the ledger keeps it.
type undo struct {
	ACLs    []change  `json:"acls,omitempty"`
	Renames []renamed `json:"renames,omitempty"`
	Log     position  `json:"log"` // where the server's log was at the beginning
	Look    Look      `json:"look"`
}

// change is what became of the privileges on one relation.
type change struct {
	Was    acl `json:"was"`
	During acl `json:"during"`
}

// renamed is one name that was changed. Number 0 is the relation's own.
type renamed struct {
	Relation uint32 `json:"relation"`
	Number   int16  `json:"number"`
	From     string `json:"from"`
	To       string `json:"to"`
}

// Rehearse takes the target away for a time, in the caller's transaction, and keeps in the ledger how it comes back. notes says what the
// rehearsal will not show, and what fails by it though the drop would not break it. The error is a [job.Refusals] where it would show
// nothing or could not be undone exactly; then the transaction must be rolled back.
//
// Revoke needs no lock that a reader or writer waits for. Rename takes an ACCESS EXCLUSIVE lock for a moment: set lock_timeout.
func Rehearse(ctx context.Context, tx pgx.Tx, p Plan) (r store.Rehearsal, notes []string, err error) {
	rs, err := p.Target.find(ctx, tx)
	if err != nil {
		return r, nil, err
	}
	if err := p.allowed(ctx, tx, rs); err != nil {
		return r, nil, err
	}
	var u undo
	if u.Look, err = TakeLook(ctx, tx, p.Target); err != nil {
		return r, nil, err
	}
	if u.Log, err = logPosition(ctx, tx); err != nil {
		return r, nil, err
	}
	switch p.Mode {
	case Revoke:
		u.ACLs, notes, err = p.revoke(ctx, tx, rs)
	case Rename:
		u.Renames, notes, err = p.rename(ctx, tx, rs)
	default:
		err = job.Refusals{{Field: "mode", Value: string(p.Mode), Why: "is no way to rehearse", Fix: "give revoke or rename"}}
	}
	if err != nil {
		return r, nil, err
	}
	r = store.Rehearsal{Migration: p.Migration, Mode: string(p.Mode), Relation: rs[0].oid, Until: p.Until, By: p.By}
	if r.Target, err = json.Marshal(p.Target); err != nil {
		return r, nil, err
	}
	if r.Undo, err = json.Marshal(u); err != nil {
		return r, nil, err
	}
	if err := store.BeginRehearsal(ctx, tx, &r); err != nil {
		return r, nil, fmt.Errorf("write down the rehearsal: %w", err)
	}
	return r, notes, nil
}

// allowed refuses a second rehearsal, and one that is over before it began.
func (p Plan) allowed(ctx context.Context, tx pgx.Tx, rs []relation) error {
	open, found, err := store.OpenRehearsal(ctx, tx, p.Migration, rs[0].oid)
	if err != nil {
		return fmt.Errorf("read the rehearsals: %w", err)
	}
	if found {
		return job.Refusals{{Field: "rehearsal", Value: open.Migration, Why: fmt.Sprintf("is rehearsed already, by %s until %s", open.By, open.Until.UTC().Format(time.RFC3339)),
			Fix: "end that one first"}}
	}
	var now time.Time
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	if !p.Until.After(now) {
		return job.Refusals{{Field: "until", Value: p.Until.UTC().Format(time.RFC3339), Why: "is over by the database's clock", Fix: "give a time to come"}}
	}
	return nil
}

// rename gives each of the columns, or the table, a name that tells what goes on.
func (p Plan) rename(ctx context.Context, tx pgx.Tx, rs []relation) ([]renamed, []string, error) {
	readers, err := Readers(ctx, tx, p.Target)
	if err != nil {
		return nil, nil, err
	}
	var refused job.Refusals
	for _, r := range readers {
		switch {
		case r.Forbids():
			refused = append(refused, job.Refusal{Field: "rehearsal", Value: string(r.Kind) + " " + r.Object,
				Why: "follows a new name by itself, so it would not notice, and " + r.Why, Fix: r.Fix})
		case r.Writes:
			refused = append(refused, job.Refusal{Field: "rehearsal", Value: string(r.Kind) + " " + r.Object, Why: r.Why, Fix: r.Fix})
		}
	}
	if len(refused) > 0 {
		return nil, nil, refused
	}
	table := rs[0]
	taken, err := takenNames(ctx, tx, p.Target, table)
	if err != nil {
		return nil, nil, err
	}
	var all []renamed
	if p.Target.whole() {
		to := telling(table.name, taken)
		all = []renamed{{table.oid, 0, table.name, to}}
		_, err = tx.Exec(ctx, "ALTER TABLE "+table.String()+" RENAME TO "+quote(to))
		return all, renameNotes, wrapf(err, "rename %s", table)
	}
	for _, c := range p.Target.Columns {
		to := telling(c, taken)
		var number int16
		if err := tx.QueryRow(ctx, "SELECT attnum FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2", table.oid, c).Scan(&number); err != nil {
			return nil, nil, fmt.Errorf("find column %s of %s: %w", quote(c), table, err)
		}
		if _, err := tx.Exec(ctx, "ALTER TABLE "+table.String()+" RENAME COLUMN "+quote(c)+" TO "+quote(to)); err != nil {
			return nil, nil, fmt.Errorf("rename column %s of %s: %w", quote(c), table, err)
		}
		taken = append(taken, to)
		all = append(all, renamed{table.oid, number, c, to})
	}
	return all, renameNotes, nil
}

var renameNotes = []string{
	"every role notices, the owner and superusers too, and writers that name it fail as well",
	"SELECT * goes on, with the telling name among its columns",
}

func wrapf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// takenNames are the names beside which a new one must be found.
func takenNames(ctx context.Context, q Querier, t Target, table relation) ([]string, error) {
	sql := "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = $1"
	if t.whole() {
		sql = "SELECT c.relname::text FROM pg_catalog.pg_class c WHERE c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = $1)"
	}
	rows, err := q.Query(ctx, sql, table.oid)
	if err != nil {
		return nil, fmt.Errorf("read the names beside %s: %w", t, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// suffix tells whoever meets the name in an error, or in psql, what goes on.
const suffix = "_is_being_dropped"

// telling is the name under which a target is hidden.
func telling(name string, taken []string) string {
	const most = 63
	for n := 0; ; n++ {
		tail := suffix
		if n > 0 {
			tail = fmt.Sprintf("%s_%d", suffix, n)
		}
		head := name
		for len(head)+len(tail) > most {
			r := []rune(head)
			head = string(r[:len(r)-1])
		}
		if !slices.Contains(taken, head+tail) {
			return head + tail
		}
	}
}

// ErrNoRehearsal says that none is under way: it was undone already, or never began.
var ErrNoRehearsal = errors.New("no rehearsal is under way")

// Undo brings back what the rehearsal of a migration took away and ends it, in the caller's transaction: one short one, whatever process
// began it. exact says that all is what it was, to the order of grants; otherwise somebody changed privileges meanwhile, and what the
// rehearsal took and gave was taken back on top of that. The error is [ErrNoRehearsal] where none is under way.
func Undo(ctx context.Context, tx pgx.Tx, migration, by string) (r store.Rehearsal, exact bool, err error) {
	r, found, err := store.OpenRehearsal(ctx, tx, migration, 0)
	if err != nil {
		return r, false, fmt.Errorf("read the rehearsal of %s: %w", migration, err)
	}
	if !found {
		return r, false, fmt.Errorf("migration %q: %w", migration, ErrNoRehearsal)
	}
	var u undo
	if err := json.Unmarshal(r.Undo, &u); err != nil {
		return r, false, fmt.Errorf("read the undo of rehearsal %d: %w", r.ID, err)
	}
	exact = true
	for _, c := range u.ACLs {
		same, err := c.back(ctx, tx)
		if err != nil {
			return r, false, err
		}
		exact = exact && same
	}
	for _, n := range u.Renames {
		if err := n.back(ctx, tx); err != nil {
			return r, false, err
		}
	}
	if err := store.EndRehearsal(ctx, tx, &r, by); err != nil {
		return r, false, fmt.Errorf("write down the end of the rehearsal: %w", err)
	}
	return r, exact, nil
}

// back gives a name back. One that somebody gave back already, and one whose table is gone, is left.
func (n renamed) back(ctx context.Context, tx pgx.Tx) error {
	var table, now string
	err := tx.QueryRow(ctx, `SELECT pg_catalog.format('%I.%I', s.nspname, c.relname), coalesce(a.attname, c.relname)::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = $2 AND $2 > 0 WHERE c.oid = $1`, n.Relation, n.Number).Scan(&table, &now)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read the name of %s: %w", n.To, err)
	case now == n.From, strings.HasPrefix(now, "........pg.dropped"):
		return nil
	case now != n.To:
		return job.Refusals{{Field: "undo", Value: now, Why: fmt.Sprintf("was %s, which the rehearsal had made of %s: somebody renamed it", n.To, n.From), Fix: "rename it to " + quote(n.From) + " yourself"}}
	case n.Number == 0:
		_, err = tx.Exec(ctx, "ALTER TABLE "+table+" RENAME TO "+quote(n.From))
	default:
		_, err = tx.Exec(ctx, "ALTER TABLE "+table+" RENAME COLUMN "+quote(n.To)+" TO "+quote(n.From))
	}
	return wrapf(err, "rename %s back to %s", n.To, n.From)
}
