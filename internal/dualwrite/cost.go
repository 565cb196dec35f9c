package dualwrite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
)

// Cost is what the trigger costs a write, measured on a copy of real rows. The copy writes no WAL and waits for no disk, so writes to the
// table itself are slower and the trigger's part of them is smaller: the factors are upper bounds.
type Cost struct {
	Rows   int   `json:"rows"`   // of the sample
	Trials int   `json:"trials"` // with and without, each
	Insert Write `json:"insert"`
	Update Write `json:"update"` // of the old columns
	Other  Write `json:"other"`  // an update that concerns neither schema
}

// Write is what one row's write takes: medians, in microseconds.
type Write struct {
	Without float64 `json:"without_us"`
	With    float64 `json:"with_us"`
}

// Factor is how many times longer a write takes with the trigger.
func (w Write) Factor() float64 {
	if w.Without == 0 {
		return 1
	}
	return w.With / w.Without
}

func (w Write) String() string {
	return fmt.Sprintf("%.1f -> %.1f us a row (x%.2f)", w.Without, w.With, w.Factor())
}

// String is the cost in three lines.
func (c Cost) String() string {
	if c.Rows == 0 {
		return "the table is empty: nothing was measured\n"
	}
	return fmt.Sprintf("insert: %s\nupdate of the old columns: %s\nupdate of anything else: %s\n(medians of %d trials each on a copy of %d rows that writes no WAL: the real factors are smaller)\n",
		c.Insert, c.Update, c.Other, c.Trials, c.Rows)
}

// What a measurement may spend.
const (
	costRows    = 2000
	costTrials  = 7
	costWithin  = 5 * time.Second // no further trial begins after it
	costTimeout = 5 * time.Second // of one statement
)

var errBack = errors.New("rolled back")

// MeasureCost measures what the forward trigger costs writes, on a sample of real rows in temporary tables like the real ones, with and
// without the trigger in turns. It reads the tables and locks none of their rows, takes a few seconds at most, and leaves nothing: all of it is
// one transaction that is rolled back. An error of the expression over a real row is the error that a write of that row would have.
func MeasureCost(ctx context.Context, pool *pgxpool.Pool, spec migration.Spec, searchPath string) (Cost, error) {
	var c Cost
	err := postgres.InTx(ctx, pool, postgres.Settings{Application: "backfleet cost", SearchPath: searchPath, SynchronousCommit: "off",
		LockTimeout: time.Second, StatementTimeout: costTimeout}, func(tx pgx.Tx) error {
		p, in, err := read(ctx, tx, spec, searchPath)
		if err != nil {
			return err
		}
		m := measurement{tx: tx, ends: time.Now().Add(costWithin)}
		if c, err = m.run(ctx, p, in); err != nil {
			return fmt.Errorf("measure dual-write of %s: %w", spec.Name, err)
		}
		return errBack
	})
	if errors.Is(err, errBack) {
		err = nil
	}
	return c, err
}

type measurement struct {
	tx   pgx.Tx
	ends time.Time
	ts   []trigger
}

func (m *measurement) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := m.tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(sql, "\n", 2)[0], err)
		}
	}
	return nil
}

// copied is a table like t for this session alone.
func (m *measurement) copied(ctx context.Context, t catalog.Table, name string) (catalog.Table, error) {
	like := t.String()
	t.Schema, t.Name, t.Leaves = "pg_temp", name, nil
	if err := m.exec(ctx, "CREATE TEMPORARY TABLE "+alias(t)+" (LIKE "+like+" INCLUDING ALL) ON COMMIT DROP"); err != nil {
		return t, err
	}
	rows, err := m.tx.Query(ctx, uniqueSQL, pgx.Identifier{"pg_temp", name}.Sanitize())
	if err != nil {
		return t, fmt.Errorf("read the unique indexes of %s: %w", alias(t), err)
	}
	drops, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return t, fmt.Errorf("read the unique indexes of %s: %w", alias(t), err)
	}
	return t, m.exec(ctx, drops...)
}

// uniqueSQL makes the statements that drop what lets a value be there once only, but for the primary key: the trial's update gives each row
// the values of the next, which is still there.
const uniqueSQL = `SELECT CASE WHEN c.oid IS NULL THEN pg_catalog.format('DROP INDEX pg_temp.%I', r.relname)
		ELSE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', $1::text, c.conname) END
	  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'x')
	 WHERE i.indrelid = $1::text::regclass AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary`

func (m *measurement) run(ctx context.Context, p Pair, in inspection) (Cost, error) {
	source := p.Source
	var rows float64
	if err := m.tx.QueryRow(ctx, `SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::float8 FROM pg_catalog.pg_partition_tree($1::oid::regclass) t
		JOIN pg_catalog.pg_class c ON c.oid = t.relid UNION ALL SELECT greatest(reltuples, 0)::float8 FROM pg_catalog.pg_class WHERE oid = $1 ORDER BY 1 DESC LIMIT 1`,
		source.OID).Scan(&rows); err != nil {
		return Cost{}, err
	}
	percent := 100.0
	if rows > costRows {
		percent = min(100, 200*costRows/rows)
	}
	var plain []string
	for _, c := range source.Columns {
		if !c.Generated {
			plain = append(plain, c.Name)
		}
	}
	list := quoted("", plain)
	if err := m.exec(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE backfleet_sample ON COMMIT DROP AS SELECT %s FROM %s TABLESAMPLE SYSTEM (%f) LIMIT %d",
		list, source, percent, costRows)); err != nil {
		return Cost{}, err
	}
	var c Cost
	if err := m.tx.QueryRow(ctx, "SELECT count(*) FROM pg_temp.backfleet_sample").Scan(&c.Rows); err != nil || c.Rows == 0 {
		return c, err
	}
	var err error
	if p.Source, err = m.copied(ctx, source, source.Name); err != nil {
		return c, err
	}
	if p.Target != nil {
		name := p.Target.Name
		if name == source.Name {
			name += "_"
		}
		t, err := m.copied(ctx, *p.Target, name)
		if err != nil {
			return c, err
		}
		p.Target = &t
	}
	m.ts = p.plan(Forward, in)
	for _, f := range functions(m.ts) {
		if err := m.exec(ctx, f.create(p.path())); err != nil {
			return c, err
		}
	}
	for _, t := range m.ts {
		if err := m.exec(ctx, t.create()); err != nil {
			return c, err
		}
	}
	return c, m.trials(ctx, p, plain, &c)
}

// trials times each kind of write without and with the trigger in turns.
func (m *measurement) trials(ctx context.Context, p Pair, plain []string, c *Cost) error {
	var key []string
	for _, k := range p.Source.Key {
		key = append(key, k.Name)
	}
	shifted, set := make([]string, 0, len(p.Kept)), make([]string, 0, len(p.Kept))
	for _, k := range p.kept() {
		if slices.Contains(key, k) {
			continue
		}
		q := statement.Quote(k)
		order := " OVER (ORDER BY " + quoted("", key) + ")"
		shifted = append(shifted, "coalesce(lead("+q+")"+order+", first_value("+q+")"+order+") AS "+q) // the last has the first's: it may be NOT NULL
		set = append(set, q+" = backfleet_s."+q)
	}
	insert := fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.backfleet_sample", p.Source, quoted("", plain), quoted("", plain))
	kinds := []struct {
		sql  string
		into *Write
	}{{insert, &c.Insert}}
	if len(set) > 0 {
		if err := m.exec(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE backfleet_shifted ON COMMIT DROP AS SELECT %s, %s FROM pg_temp.backfleet_sample",
			quoted("", key), strings.Join(shifted, ", "))); err != nil {
			return err
		}
		kinds = append(kinds, struct {
			sql  string
			into *Write
		}{fmt.Sprintf("UPDATE %s AS backfleet_c SET %s FROM pg_temp.backfleet_shifted AS backfleet_s WHERE %s",
			p.Source, strings.Join(set, ", "), equal("backfleet_c", key, "backfleet_s", key)), &c.Update})
	}
	if other := m.unwatched(plain, key); other != "" {
		kinds = append(kinds, struct {
			sql  string
			into *Write
		}{fmt.Sprintf("UPDATE %s SET %[2]s = %[2]s", p.Source, statement.Quote(other)), &c.Other})
	}
	times := make([][2][]float64, len(kinds))
	if err := m.exec(ctx, "ANALYZE pg_temp.backfleet_sample"); err != nil {
		return err
	}
	for c.Trials = 0; c.Trials < costTrials && (c.Trials == 0 || time.Now().Before(m.ends)); c.Trials++ {
		for i, k := range kinds {
			for with := range 2 {
				t, err := m.trial(ctx, p, insert, k.sql, with == 1, i > 0)
				if err != nil {
					return err
				}
				times[i][with] = append(times[i][with], t/float64(c.Rows))
			}
		}
	}
	for i, k := range kinds {
		*k.into = Write{median(times[i][0]), median(times[i][1])}
	}
	return nil
}

// unwatched is a column that no trigger looks at; empty where there is none.
func (m *measurement) unwatched(plain, key []string) string {
	for _, c := range plain {
		if !slices.Contains(key, c) && !slices.ContainsFunc(m.ts, func(t trigger) bool { return slices.Contains(t.watched, c) }) {
			return c
		}
	}
	return ""
}

// trial times one statement, in microseconds by the server's own account, over a table that holds the sample where filled, and undoes it.
func (m *measurement) trial(ctx context.Context, p Pair, insert, sql string, with, filled bool) (us float64, err error) {
	sp, err := m.tx.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sp.Rollback(ctx) }() // the whole transaction is rolled back in the end
	if filled {                             // by the trigger, so that the new side is there
		if _, err := sp.Exec(ctx, insert); err != nil {
			return 0, err
		}
	}
	if !with {
		if _, err := sp.Exec(ctx, "ALTER TABLE "+p.Source.String()+" DISABLE TRIGGER USER"); err != nil {
			return 0, err
		}
	}
	var text string
	if err := sp.QueryRow(ctx, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "+sql).Scan(&text); err != nil {
		return 0, err
	}
	var plan []struct {
		Execution float64 `json:"Execution Time"`
	}
	if err := json.Unmarshal([]byte(text), &plan); err != nil || len(plan) == 0 {
		return 0, fmt.Errorf("read the server's account: %w", err)
	}
	return plan[0].Execution * 1000, nil
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
