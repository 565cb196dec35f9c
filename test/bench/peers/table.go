package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// table is what is to be filled, in SQL as its user wrote it.
type table struct {
	name       string
	key        []string
	set, where string
	ends       time.Time // no batch begins later
}

// over says that the time is up.
func (t table) over() bool { return !time.Now().Before(t.ends) }

// keys are the key's columns as a list; of names the alias that stands before each, with its dot.
func (t table) keys(of string) string {
	return of + strings.Join(t.key, ", "+of)
}

// beyond compares the key with parameters that begin at $first: "(a, b) > ($1, $2)".
func (t table) beyond(operator string, first int) string {
	values := make([]string, len(t.key))
	for i := range values {
		values[i] = fmt.Sprintf("$%d", first+i)
	}
	return fmt.Sprintf("(%s) %s (%s)", t.keys(""), operator, strings.Join(values, ", "))
}

// span is the predicate of a part of the key space and its arguments: from lo on, or beyond it, to hi or below it; nil is unbounded.
type bound struct {
	operator string // >, >=, < or <=
	at       []any
}

func (t table) within(bounds ...bound) (predicate string, args []any) {
	terms := []string{}
	for _, b := range bounds {
		if b.at == nil {
			continue
		}
		terms = append(terms, t.beyond(b.operator, len(args)+1))
		args = append(args, b.at...)
	}
	if len(terms) == 0 {
		return "true", nil
	}
	return strings.Join(terms, " AND "), args
}

// keyAt is the key of the row that stands so many rows after the first of a part of the key space; nil where there is none.
func (t table) keyAt(ctx context.Context, conn *pgx.Conn, offset int, bounds ...bound) ([]any, error) {
	within, args := t.within(bounds...)
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %[1]s LIMIT 1 OFFSET %[4]d", t.keys(""), t.name, within, offset), args...)
	if err != nil {
		return nil, err
	}
	return one(rows)
}

// update fills the rows of a part of the key space and returns how many there were.
func (t table) update(ctx context.Context, conn *pgx.Conn, where string, bounds ...bound) (int64, error) {
	within, args := t.within(bounds...)
	sql := fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.name, t.set, within)
	if where != "" {
		sql += " AND " + where
	}
	tag, err := conn.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

// one reads the only row, which may be missing.
func one(rows pgx.Rows) ([]any, error) {
	values, err := pgx.CollectOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return values, err
}
