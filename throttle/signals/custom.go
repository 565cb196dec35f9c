package signals

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/backfleet/backfleet/throttle"
)

//go:embed custom_settings.sql
var customSettingsSQL string

// customTimeout bounds a check that a person wrote, on the server and here.
const customTimeout = time.Second

// Beginner is what a SQL check needs of a connection or a pool.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// SQLCheck reads one number by a query that a person wrote. It runs in a READ ONLY transaction that is rolled back, with a statement
// timeout of 1 s. That keeps a query from changing rows, and not from calling a function that acts outside of its transaction.
type SQLCheck struct {
	name, sql string
	every     time.Duration
	db        Beginner
}

// NewSQLCheck returns a check of the given name. Ask [ValidateSQL] before whether the query will do.
func NewSQLCheck(name, sql string, every time.Duration, db Beginner) *SQLCheck {
	return &SQLCheck{name: name, sql: sql, every: every, db: db}
}

// Name implements [Source].
func (c *SQLCheck) Name() string { return c.name }

// Every implements [Source].
func (c *SQLCheck) Every() time.Duration { return c.every }

// Read implements [Source].
func (c *SQLCheck) Read(ctx context.Context) []throttle.Reading {
	v, err := number(ctx, c.db, c.sql)
	if err != nil {
		err = fmt.Errorf("SQL check %s: %w", c.name, err)
	}
	return []throttle.Reading{{Signal: c.name, Value: v, Err: err}}
}

// ValidateSQL runs a check's query once as the check would, and refuses one that writes, fails, takes longer than 1 s, or returns
// anything but one row of one number. The error is one line, "why; what to write".
func ValidateSQL(ctx context.Context, db Beginner, sql string) error {
	_, err := number(ctx, db, sql)
	return err
}

func number(ctx context.Context, db Beginner, sql string) (v float64, err error) {
	// The server's own timeout comes first, so that a slow query costs no connection.
	ctx, cancel := context.WithTimeout(ctx, customTimeout+customTimeout/2)
	defer cancel()
	tx, err := db.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, fmt.Errorf("cannot run: %s", plain(err))
	}
	defer func() {
		// Its own time: after a timeout the transaction must end all the same.
		end, done := context.WithTimeout(context.WithoutCancel(ctx), customTimeout)
		defer done()
		_ = tx.Rollback(end) // nothing was written; a lost connection ends it too
	}()
	if _, err := tx.Exec(ctx, customSettingsSQL); err != nil {
		return 0, fmt.Errorf("cannot run: %s", plain(err))
	}
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return 0, refusedQuery(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		if n++; n > 1 {
			return 0, errors.New("returns more than one row; write a query of exactly one, as with max() or LIMIT 1")
		}
		if v, err = numberOf(rows); err != nil {
			return 0, err
		}
	}
	switch {
	case rows.Err() != nil:
		return 0, refusedQuery(rows.Err())
	case len(rows.FieldDescriptions()) == 0:
		return 0, errors.New("returns nothing; write a SELECT of one number")
	case n == 0:
		return 0, errors.New("returns no row; write a query of exactly one, as with count(*) or coalesce(max(…), 0)")
	}
	return v, nil
}

func numberOf(rows pgx.Rows) (float64, error) {
	fields := rows.FieldDescriptions()
	if len(fields) != 1 {
		return 0, fmt.Errorf("returns %d columns; write a query of exactly one number", len(fields))
	}
	switch fields[0].DataTypeOID {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
	default:
		return 0, fmt.Errorf("returns a column %q that is no number; cast it, as with extract(epoch FROM …) or ::float8", fields[0].Name)
	}
	var v pgtype.Float8
	if err := rows.Scan(&v); err != nil {
		return 0, fmt.Errorf("returns a number that cannot be read: %s", plain(err))
	}
	if !v.Valid || math.IsNaN(v.Float64) {
		return 0, errors.New("returns NULL or NaN; write a query that always has a number, as with coalesce(…, 0)")
	}
	return v.Float64, nil
}

// refusedQuery tells what the server said of a check's query.
func refusedQuery(err error) error {
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg):
		return fmt.Errorf("cannot run: %s", plain(err))
	case pg.Code == "25006":
		return errors.New("writes or locks rows, which a check must not; write a SELECT of one number")
	case pg.Code == "57014":
		return fmt.Errorf("takes longer than %s; write a query that reads less", customTimeout)
	case pg.Code == "42601" && pg.Message == "cannot insert multiple commands into a prepared statement":
		return errors.New("is more than one statement; write one SELECT of one number")
	case pg.Code == "42501":
		return fmt.Errorf("is not allowed: %s; grant it to the role of Backfleet", plain(err))
	}
	return fmt.Errorf("fails: %s", plain(err))
}
