package contract

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/store"
)

// Failure is an error that the server's log holds since a rehearsal began, and that the rehearsal probably caused.
type Failure struct {
	User      string `json:"user"`
	Program   string `json:"program"`
	SQLState  string `json:"sqlstate"`
	Message   string `json:"message"`
	Statement string `json:"statement"`
	Count     int    `json:"count"`
	Last      string `json:"last"` // as the log writes the time
}

// position is a place in the server's log.
type position struct {
	File string `json:"file,omitempty"` // empty: it cannot be read
	Size int64  `json:"size"`
	Why  string `json:"why,omitempty"` // it cannot be read
}

// mostLog is how much of the log is read, the newest of it.
const mostLog = 16 << 20

const logRightsSQL = `SELECT current_setting('logging_collector') = 'on', current_setting('log_destination'),
  pg_catalog.has_function_privilege('pg_catalog.pg_current_logfile(text)', 'EXECUTE') AND pg_catalog.has_function_privilege('pg_catalog.pg_ls_logdir()', 'EXECUTE')
  AND pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE')
  AND pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text, boolean)', 'EXECUTE')`

// logPosition is where the server's log stands now. It never fails for want of a right: then it says why it cannot be read.
func logPosition(ctx context.Context, q Querier) (p position, err error) {
	rows, err := q.Query(ctx, logRightsSQL)
	if err != nil {
		return p, fmt.Errorf("read how the server logs: %w", err)
	}
	var collects, may bool
	var kinds string
	if _, err := pgx.ForEachRow(rows, []any{&collects, &kinds, &may}, func() error { return nil }); err != nil {
		return p, fmt.Errorf("read how the server logs: %w", err)
	}
	kind := ""
	for _, k := range []string{"jsonlog", "csvlog"} {
		if strings.Contains(kinds, k) {
			kind = k
		}
	}
	switch {
	case !collects || kind == "":
		return position{Why: "the server writes no csvlog or jsonlog to files (logging_collector, log_destination)"}, nil
	case !may:
		return position{Why: "this role may not read the server's log: GRANT pg_monitor, and EXECUTE ON FUNCTION pg_current_logfile(text), pg_read_binary_file(text, bigint, bigint, boolean) and pg_stat_file(text, boolean)"}, nil
	}
	rows, err = q.Query(ctx, `SELECT f, coalesce((pg_catalog.pg_stat_file(f, true)).size, 0) FROM pg_catalog.pg_current_logfile($1) f WHERE f IS NOT NULL`, kind)
	if err != nil {
		return p, fmt.Errorf("find the server's log: %w", err)
	}
	if _, err := pgx.ForEachRow(rows, []any{&p.File, &p.Size}, func() error { return nil }); err != nil {
		return p, fmt.Errorf("find the server's log: %w", err)
	}
	if p.File == "" {
		p.Why = "the server has no log file now"
	}
	return p, nil
}

// Failures reads in the server's log who failed since the rehearsal began: errors 42501 on the table, and 42703 and 42P01 that name what
// was taken away. why says why it could not, which is so on most managed servers: errors are not to be had from SQL. Then look into the
// applications' own logs, and at what [Look.Since] tells: a statement that stops being called has failed, or has only not run.
//
// It reads the newest 16 MiB. An error that was not logged (log_min_messages) is not seen.
func Failures(ctx context.Context, q Querier, r store.Rehearsal) (all []Failure, why string, err error) {
	var u undo
	if err := json.Unmarshal(r.Undo, &u); err != nil {
		return nil, "", fmt.Errorf("read the undo of rehearsal %d: %w", r.ID, err)
	}
	var t Target
	if err := json.Unmarshal(r.Target, &t); err != nil {
		return nil, "", fmt.Errorf("read the target of rehearsal %d: %w", r.ID, err)
	}
	now, err := logPosition(ctx, q)
	if err != nil || now.Why != "" || u.Log.Why != "" {
		return nil, firstOf(now.Why, u.Log.Why), err
	}
	text, err := logSince(ctx, q, u.Log, r.Began)
	if err != nil {
		return nil, "", err
	}
	lines := csvLines
	if strings.HasSuffix(u.Log.File, ".json") {
		lines = jsonLines
	}
	found := map[Failure]*Failure{}
	for _, f := range lines(text) {
		if !t.caused(f) {
			continue
		}
		key := f
		key.Last = ""
		if found[key] == nil {
			all = append(all, f)
			found[key] = &Failure{}
		}
		found[key].Count++
		found[key].Last = f.Last
	}
	for i := range all {
		key := all[i]
		key.Last = ""
		all[i].Count, all[i].Last = found[key].Count, found[key].Last
	}
	return all, "", nil
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return texts[i]
}

// caused says whether an error looks like the rehearsal's.
func (t Target) caused(f Failure) bool {
	switch f.SQLState {
	case "42501":
		return strings.Contains(f.Message, t.Table)
	case "42P01":
		return t.whole() && strings.Contains(f.Message, t.Table)
	case "42703":
		return slices.ContainsFunc(t.Columns, func(c string) bool { return strings.Contains(f.Message, c) })
	}
	return false
}

// logSince reads what was logged since a position, over the files that came after.
func logSince(ctx context.Context, q Querier, from position, began time.Time) (text []byte, err error) {
	dir, ext := path.Dir(from.File), path.Ext(from.File)
	rows, err := q.Query(ctx, `SELECT name FROM pg_catalog.pg_ls_logdir() WHERE modification >= $1::timestamptz - interval '1 second' AND right(name, $2) = $3
		AND name <> $4 ORDER BY modification`, began, len(ext), ext, path.Base(from.File))
	if err != nil {
		return nil, fmt.Errorf("list the server's logs: %w", err)
	}
	later, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the server's logs: %w", err)
	}
	files := []position{from}
	for _, name := range later {
		files = append(files, position{File: path.Join(dir, name)})
	}
	for _, f := range files {
		rows, err := q.Query(ctx, `SELECT coalesce(pg_catalog.pg_read_binary_file($1, greatest($2, s.size - $3), $3, true), '') FROM pg_catalog.pg_stat_file($1, true) s WHERE s.size > $2`,
			f.File, f.Size, int64(mostLog))
		if err != nil {
			return nil, fmt.Errorf("read the server's log %s: %w", f.File, err)
		}
		parts, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		if err != nil {
			return nil, fmt.Errorf("read the server's log %s: %w", f.File, err)
		}
		for _, p := range parts {
			text = append(text, p...)
		}
	}
	return text[max(0, len(text)-mostLog):], nil
}

// csvLines reads the csvlog. A line that is no record, as the first may be, is passed over.
func csvLines(text []byte) (all []Failure) {
	const user, program, state, message, query = 1, 22, 12, 13, 19
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil || len(f) <= program {
			continue
		}
		all = append(all, Failure{User: strings.Clone(f[user]), Program: strings.Clone(f[program]), SQLState: strings.Clone(f[state]), Message: strings.Clone(f[message]),
			Statement: oneLine(f[query]), Last: strings.Clone(f[0])})
	}
}

// jsonLines reads the jsonlog.
func jsonLines(text []byte) (all []Failure) {
	for line := range bytes.Lines(text) {
		var f struct {
			Timestamp string `json:"timestamp"`
			User      string `json:"user"`
			Program   string `json:"application_name"`
			State     string `json:"state_code"`
			Message   string `json:"message"`
			Statement string `json:"statement"`
		}
		if json.Unmarshal(line, &f) == nil && f.State != "" {
			all = append(all, Failure{User: f.User, Program: f.Program, SQLState: f.State, Message: f.Message, Statement: oneLine(f.Statement), Last: f.Timestamp})
		}
	}
	return all
}
