package contract

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/postgres"
)

// functions whose body is text: Postgres looks into it when it runs, which may be in three weeks.
func (t Target) functions(ctx context.Context, q Querier, rs []relation, w words) ([]Reader, error) {
	relations, _, _ := t.arrays(rs)
	rows, err := q.Query(ctx, functionsSQL, relations, w.all())
	if err != nil {
		return nil, fmt.Errorf("read the functions: %w", err)
	}
	var all []Reader
	var object, language, body, arguments string
	var triggers []string
	var rowType bool
	_, err = pgx.ForEachRow(rows, []any{&object, &language, &body, &arguments, &triggers, &rowType}, func() error {
		m := w.look(body)
		if a := w.look(arguments); a.table { // users.email%TYPE is resolved when it is made, but tells what it is about
			m.table = true
		}
		r := Reader{Kind: Function, Object: object, Certainty: Maybe, AtDrop: Breaks, Fix: "read it, and make it read the new schema"}
		why, reads := m.reads(w)
		switch {
		case len(triggers) > 0 && m.column:
			why, reads = "names the column and is called by a trigger, so that every such write would fail: "+strings.Join(triggers, ", "), true
			r.Writes = true
			r.Fix = "drop the trigger, or replace the function by one without the column"
		case !reads && rowType && m.column:
			why, reads = "takes or returns rows of the table and names the column", true
		}
		if reads {
			r.Why = "is " + language + ", " + why
			all = append(all, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the functions: %w", err)
	}
	return all, nil
}

// sessions are the clients that are connected now.
func (t Target) sessions(ctx context.Context, q Querier, _ []relation, w words) ([]Reader, error) {
	rows, err := q.Query(ctx, sessionsSQL)
	if err != nil {
		return nil, fmt.Errorf("read the sessions: %w", err)
	}
	var all []Reader
	var user, program, state, query string
	var pid int
	_, err = pgx.ForEachRow(rows, []any{&user, &program, &state, &query, &pid}, func() error {
		who := strings.TrimSpace(user + " " + program)
		if program == "postgres_fdw" {
			all = append(all, Reader{Kind: ForeignServer, Object: fmt.Sprintf("%s (pid %d)", who, pid), Certainty: Maybe, AtDrop: Breaks,
				Why: "another database reads this one through postgres_fdw", Fix: "look at its foreign tables"})
			return nil
		}
		if why, reads := w.look(query).reads(w); reads && !definition(query) {
			all = append(all, Reader{Kind: Session, Object: fmt.Sprintf("%s (pid %d)", who, pid), Certainty: Maybe, AtDrop: Breaks,
				Why: "is " + state + "; its last statement " + why + ": " + oneLine(query), Fix: "find out which program it is, and have it read the new schema"})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sessions: %w", err)
	}
	return all, nil
}

// cronJobs are what pg_cron runs by itself, where it is and may be read.
func (t Target) cronJobs(ctx context.Context, q Querier, _ []relation, w words) ([]Reader, error) {
	schema, err := extension(ctx, q, "pg_cron")
	if err != nil || schema == "" {
		return nil, err
	}
	rows, err := q.Query(ctx, "SELECT jobid, schedule, command FROM cron.job WHERE database = current_database() AND active ORDER BY jobid")
	if err != nil {
		return nil, fmt.Errorf("read the jobs of pg_cron: %w", err)
	}
	var all []Reader
	var id int64
	var schedule, command string
	_, err = pgx.ForEachRow(rows, []any{&id, &schedule, &command}, func() error {
		if why, reads := w.look(command).reads(w); reads {
			all = append(all, Reader{Kind: CronJob, Object: fmt.Sprintf("cron job %d at %s", id, schedule), Certainty: Maybe, AtDrop: Breaks,
				Why: why + ": " + oneLine(command), Fix: "change its command to the new schema"})
		}
		return nil
	})
	if postgres.SQLState(err) == "42501" {
		return nil, fmt.Errorf("read the jobs of pg_cron: %w; GRANT USAGE ON SCHEMA cron and SELECT ON cron.job to this role", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the jobs of pg_cron: %w", err)
	}
	return all, nil
}

// defining are statements that change the schema, or look after the table, and read nothing for anybody.
var defining = regexp.MustCompile(`(?is)^(\s|/\*.*?\*/|--[^\n]*\n)*(alter|create|drop|comment|grant|revoke|analyze|vacuum|reindex|cluster|truncate|lock|set|reset|begin|commit)\b`)

func definition(sql string) bool {
	m := defining.FindStringSubmatch(sql)
	if m == nil {
		return false
	}
	word := strings.ToLower(m[2])
	return word != "create" || !strings.Contains(strings.ToLower(sql), "select") // CREATE TABLE AS reads
}

// oneLine is a statement in one line, shortened.
func oneLine(sql string) string {
	const most = 160
	r := []rune(strings.Join(strings.Fields(sql), " "))
	if len(r) > most {
		return string(r[:most]) + "..."
	}
	return string(r)
}
