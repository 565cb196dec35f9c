package contract

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/postgres"
)

// Look is what pg_stat_statements told at one time of the statements that read a target.
type Look struct {
	At    time.Time         `json:"at"` // by the database's clock
	Calls map[string]int64  `json:"calls"`
	Texts map[string]string `json:"texts"` // in one line, shortened
}

// TakeLook looks at the statements that pg_stat_statements remembers. Where it is not there, the look is empty.
func TakeLook(ctx context.Context, q Querier, t Target) (Look, error) {
	l := Look{Calls: map[string]int64{}, Texts: map[string]string{}}
	rs, err := t.find(ctx, q)
	if err != nil {
		return l, err
	}
	dependents, err := t.dependents(ctx, q, rs)
	if err != nil {
		return l, err
	}
	rows, err := q.Query(ctx, "SELECT clock_timestamp()")
	if err != nil {
		return l, fmt.Errorf("read the clock: %w", err)
	}
	if l.At, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[time.Time]); err != nil {
		return l, fmt.Errorf("read the clock: %w", err)
	}
	all, err := t.statements(ctx, q, rs, t.words(rs, dependents))
	for _, r := range all {
		l.Calls[r.id], l.Texts[r.id] = r.Calls, r.Object
	}
	return l, err
}

// Use is what a statement did between two looks.
type Use struct {
	Statement string `json:"statement"`
	Calls     int64  `json:"calls"` // between the looks
	Before    int64  `json:"before"`
}

// Since tells what became of each statement since an earlier look: those with calls still read, those without have stopped. Where the
// statistics were reset meanwhile, all calls since count.
func (l Look) Since(earlier Look) (all []Use) {
	ids := map[string]bool{}
	for id := range l.Calls {
		ids[id] = true
	}
	for id := range earlier.Calls {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		now, was := l.Calls[id], earlier.Calls[id]
		u := Use{Statement: l.Texts[id], Calls: now - was, Before: was}
		if u.Statement == "" {
			u.Statement = earlier.Texts[id]
		}
		if now < was {
			u.Calls = now
		}
		all = append(all, u)
	}
	return all
}

// statements are those that pg_stat_statements remembers.
func (t Target) statements(ctx context.Context, q Querier, _ []relation, w words) ([]Reader, error) {
	schema, err := extension(ctx, q, "pg_stat_statements")
	if err != nil || schema == "" {
		return nil, err
	}
	rows, err := q.Query(ctx, `SELECT userid::text || ' ' || queryid, pg_catalog.pg_get_userbyid(userid)::text, query, sum(calls)::bigint
		 FROM `+pgx.Identifier{schema, "pg_stat_statements"}.Sanitize()+`
		WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
		  AND EXISTS (SELECT 1 FROM unnest($1::text[]) x(word) WHERE pg_catalog.strpos(lower(query), lower(word)) > 0)
		GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1`, w.all())
	if err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	var all []Reader
	var id, user, query string
	var calls int64
	_, err = pgx.ForEachRow(rows, []any{&id, &user, &query, &calls}, func() error {
		if why, reads := w.look(query).reads(w); reads && !definition(query) {
			all = append(all, Reader{Kind: Statement, Object: user + ": " + oneLine(query), Certainty: Maybe, AtDrop: Breaks, Calls: calls, id: id,
				Why: fmt.Sprintf("was called %d times and %s", calls, why), Fix: "find the program that sends it, and have it read the new schema; look again for whether its calls still grow"})
		}
		return nil
	})
	switch {
	case postgres.SQLState(err) == "55000" && strings.Contains(err.Error(), "shared_preload_libraries"):
		return nil, nil // created but not loaded, as [Unseen] says
	case err != nil:
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	return all, nil
}
