package dualwrite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/statement"
)

// State is how dual-write stands in the catalog.
type State struct {
	// Direction is that of the functions that are there; empty where there is none.
	Direction Direction `json:"direction,omitempty"`
	// Problems is what is not as it was installed, a line each, with what to do; empty: each write is carried over.
	Problems []string `json:"problems,omitempty"`
	// Later are triggers of others that fire after ours and may change what ours has seen.
	Later []string `json:"later,omitempty"`
}

// Stands reports whether dual-write is there and as it was installed.
func (s State) Stands() bool { return s.Direction != "" && len(s.Problems) == 0 }

// Installed compares the catalog with what [Install] makes: functions by their body and settings, triggers by when they fire, on what
// and that they always do, on every partition.
func Installed(ctx context.Context, tx pgx.Tx, spec migration.Spec, searchPath string) (State, error) {
	var s State
	err := pinned(ctx, tx, "pg_catalog, pg_temp", func() error {
		p, err := Load(ctx, tx, spec, searchPath)
		if err != nil {
			return err
		}
		there, err := bodies(ctx, tx, p)
		if err != nil || len(there) == 0 {
			return err
		}
		main := inSchema(p.Source, p.object("", ""))
		made, ok := readHeader(there[main].source)
		if !ok {
			s.Problems = append(s.Problems, "function "+main+" is not there, or not as it was installed"+again)
			return nil
		}
		s.Direction = made.Direction
		return s.compare(ctx, tx, p, p.plan(made.Direction, made.inspection()), there)
	})
	return s, err
}

// again is what mends what a person has changed.
const again = "; install dual-write again"

// hash is of all that makes the function do what it does.
func (f function) hash(searchPath string) string {
	config := f.config(searchPath)
	for i, c := range config {
		name, value, _ := strings.Cut(c, " = ")
		config[i] = name + "=" + strings.Trim(value, "'")
	}
	return hashed(f.body, f.definer, config)
}

func hashed(body string, definer bool, config []string) string {
	config = slices.Clone(config)
	for i, c := range config {
		config[i] = strings.ToLower(c)
	}
	slices.Sort(config)
	sum := sha256.Sum256([]byte(fmt.Sprintf("%t\n%s\n%s", definer, strings.Join(config, "\n"), body)))
	return hex.EncodeToString(sum[:])
}

type body struct{ source, hash string }

// bodies reads the functions of the migration that are there, by their names.
func bodies(ctx context.Context, tx pgx.Tx, p Pair) (map[string]body, error) {
	there := map[string]body{}
	rows, err := tx.Query(ctx, `SELECT n.nspname::text, p.proname::text, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}') FROM pg_catalog.pg_proc p
		  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		 WHERE p.proname = ANY($1::text[]) AND p.prorettype = 'pg_catalog.trigger'::regtype AND l.lanname = 'plpgsql'`,
		[]string{p.object("", ""), p.object("", "_back")})
	if err != nil {
		return nil, fmt.Errorf("read the functions of %s: %w", p.Name, err)
	}
	var schema, name, source string
	var definer bool
	var config []string
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &source, &definer, &config}, func() error {
		there[pgx.Identifier{schema, name}.Sanitize()] = body{source, hashed(source, definer, config)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the functions of %s: %w", p.Name, err)
	}
	return there, nil
}

// standing is one trigger of the catalog.
type standing struct {
	enabled string
	kind    int16
	when    bool
	watched []string // the columns that its condition names
	calls   string
}

const (
	tgRow, tgBefore, tgInsert, tgDelete, tgUpdate = 1, 2, 4, 8, 16
)

// kind is the trigger's timing and events as the catalog writes them.
func (t trigger) kind() (k int16) {
	k = tgRow
	if t.timing == "BEFORE" {
		k |= tgBefore
	}
	for _, e := range t.events {
		k |= map[string]int16{"INSERT": tgInsert, "DELETE": tgDelete, "UPDATE": tgUpdate}[e]
	}
	return k
}

func (s *State) compare(ctx context.Context, tx pgx.Tx, p Pair, ts []trigger, there map[string]body) error {
	add := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	for _, f := range functions(ts) {
		switch b, ok := there[f.String()]; {
		case !ok:
			add("function %s is not there"+again, f)
		case b.hash != f.hash(p.path()):
			add("function %s is not as it was installed"+again, f)
		}
	}
	for _, t := range ts {
		for i, on := range append([]catalog.Leaf{{OID: t.table.OID, Schema: t.table.Schema, Name: t.table.Name}}, t.table.Leaves...) {
			if i > 0 && on.OID == t.table.OID {
				continue
			}
			got, err := find(ctx, tx, on.OID, t.name)
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				add("trigger %s is not on %s"+again, statement.Quote(t.name), on)
				continue
			case err != nil:
				return fmt.Errorf("read trigger %s: %w", statement.Quote(t.name), err)
			}
			watched := slices.Sorted(slices.Values(t.watched))
			switch {
			case got.enabled != "A":
				add("trigger %s on %s is %s: run %s", statement.Quote(t.name), on, enabledness(got.enabled), always(pgx.Identifier{on.Schema, on.Name}, t.name))
			case got.calls != t.function.String():
				add("trigger %s on %s calls %s"+again, statement.Quote(t.name), on, got.calls)
			case got.kind != t.kind() || got.when != (len(watched) > 0) || i == 0 && !slices.Equal(got.watched, watched): // of a partition's the catalog does not say
				add("trigger %s on %s does not fire as it was installed"+again, statement.Quote(t.name), on)
			}
		}
	}
	return s.later(ctx, tx, ts)
}

func enabledness(c string) string {
	return map[string]string{"D": "disabled", "O": "not fired for rows that replication applies", "R": "fired only for rows that replication applies"}[c]
}

// find reads a trigger by its name: partitions have theirs under the same one.
func find(ctx context.Context, tx pgx.Tx, table uint32, name string) (s standing, err error) {
	var schema, function string
	err = tx.QueryRow(ctx, `
		SELECT t.tgenabled::text, t.tgtype, t.tgqual IS NOT NULL, n.nspname::text, p.proname::text,
		       ARRAY(SELECT DISTINCT a.attname::text COLLATE "C" FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		              WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
		              ORDER BY 1)
		  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		 WHERE t.tgrelid = $1 AND t.tgname = $2`, table, name).Scan(&s.enabled, &s.kind, &s.when, &schema, &function, &s.watched)
	s.calls = pgx.Identifier{schema, function}.Sanitize()
	return s, err
}

// later finds BEFORE triggers of others that fire after ours.
func (s *State) later(ctx context.Context, tx pgx.Tx, ts []trigger) error {
	for _, t := range ts {
		if t.timing != "BEFORE" {
			continue
		}
		rows, err := tx.Query(ctx, `SELECT tgname::text FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgtype & $2 = $2
			AND tgname COLLATE "C" > $3::text COLLATE "C" AND tgfoid <> $4::text::regproc ORDER BY 1`, t.table.OID, t.kind(), t.name, t.function.String())
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", t.table, err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", t.table, err)
		}
		for _, name := range found {
			if !slices.Contains(s.Later, name) {
				s.Later = append(s.Later, name)
			}
		}
	}
	return nil
}
