package job

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DefaultRowsPerRange is how many rows a range holds where the spec does not say.
const DefaultRowsPerRange = 50_000

// maxRowsPerRange keeps a range's work, and so what a takeover waits for, within hours.
const maxRowsPerRange = 100_000_000

// maxExpression bounds one SQL expression of a spec in bytes.
const maxExpression = 64 << 10

// namePattern fits a subject, a consumer and an environment variable alike.
var namePattern = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// ValidName reports whether a job or a database may be called so.
func ValidName(name string) bool { return namePattern.MatchString(name) }

// zeroes are the limits whose zero says something else than their default.
var zeroes = []string{"on_error.quarantine_rows", "verify.snapshot"}

// WithDefaults returns the spec with its schema named and every zero limit replaced by its default. Some zeros keep their
// meaning and stay: throttle.max_rows_per_second (no cap), throttle.max_growth (no bound), on_error.quarantine_rows (pause at the first row) and
// verify.snapshot (walk keys); [ParseSpec] alone can tell an absent value of the last two from a zero, and fills it in.
func (s Spec) WithDefaults() Spec {
	if schema, _, err := SplitTable(s.Table); err == nil && schema == "" {
		s.Table = "public." + s.Table
	}
	if s.RowsPerRange == 0 {
		s.RowsPerRange = DefaultRowsPerRange
	}
	zero := Limits{}
	for _, f := range limits.all {
		if f.fallback != "" && !slices.Contains(zeroes, f.path) && f.get(s.Limits) == f.get(zero) {
			_ = f.set(&s.Limits, f.fallback) // a default is valid: see defaultLimits
		}
	}
	return s
}

// Validate checks a spec, defaults applied, as far as that goes without its database. The error is a [Refusals] with one line
// for each thing that is wrong.
func (s Spec) Validate() error { return s.refusals().Err() }

func (s Spec) refusals() Refusals {
	var rs Refusals
	add := func(field, value, why, fix string) {
		rs = append(rs, Refusal{Field: field, Value: value, Why: why, Fix: fix})
	}
	for _, f := range []struct{ field, value, what string }{
		{"name", s.Name, "a name for the job, like users-email-norm"},
		{"database", s.Database, "the name of a database, like main"},
	} {
		if f.value == "" {
			add(f.field, "", "is missing", "write "+f.what)
		} else if !namePattern.MatchString(f.value) {
			add(f.field, f.value, "is not a name", "write 1 to 40 of a-z, 0-9 and -")
		}
	}
	if s.Table == "" {
		add("table", "", "is missing", "write schema.table")
	} else if _, _, err := SplitTable(s.Table); err != nil {
		add("table", s.Table, "is not a table's name: "+err.Error(), `write schema.table, or quoted as in SQL "schema"."table"`)
	}
	switch {
	case s.Statement != "" && len(s.Set) > 0:
		add("statement", "", "stands beside `set`", "write one of the two")
	case s.Statement != "":
		_, refused := s.Form()
		rs = append(rs, refused...)
	case s.Alias != "":
		add("alias", s.Alias, "has no statement to stand in", "leave it out: a `set` calls the table by its name")
	case len(s.Set) == 0:
		add("set", "", "is missing", "write at least one column and its expression, like {email_norm: lower(email)}, or a `statement`")
	}
	for _, column := range slices.Sorted(maps.Keys(s.Set)) {
		if why := columnFault(column); why != "" {
			add("set", column, why, "write a column of the table")
		}
		if why := expressionFault(s.Set[column]); why != "" {
			add("set."+column, "", why, "write a SQL expression, or NULL")
		}
	}
	for _, f := range []struct{ field, x string }{{"where", s.Where}, {"check", s.Check}} {
		if f.x == "" {
			continue
		}
		if why := expressionFault(f.x); why != "" {
			add(f.field, "", why, "write a SQL condition, or leave it out")
		}
	}
	for i, column := range s.Key {
		if why := columnFault(column); why != "" {
			add("key", column, why, "write columns of the table")
		} else if slices.Contains(s.Key[:i], column) {
			add("key", column, "stands in it twice", "write each column once")
		}
	}
	if s.LateRows != "" && s.LateRows != "ignore" {
		add("late_rows", s.LateRows, "is not known", "write ignore, or leave it out")
	}
	if why, fix := s.orderFault(); why != "" {
		add("order", string(s.Order), why, fix)
	}
	if s.RowsPerRange < 1 || s.RowsPerRange > maxRowsPerRange {
		add("rows_per_range", strconv.Itoa(s.RowsPerRange), "is out of bounds",
			"write a whole number from 1 to "+strconv.Itoa(maxRowsPerRange))
	}
	return append(rs, s.Limits.refusals()...)
}

// Validate checks that every limit is within its bounds, that thresholds are in order, that windows open, and that checks ask for
// something. The error is a [Refusals].
func (l Limits) Validate() error { return l.refusals().Err() }

func (l Limits) refusals() Refusals {
	rs := limits.refusals(l, "")
	for _, name := range slices.Sorted(maps.Keys(l.Throttle.Replicas)) {
		if s := replica(name); s.check(l) != nil {
			rs = append(rs, refuse(s.path, s.get(l), s.check(l)))
		}
	}
	return append(rs, l.Throttle.refusals()...)
}

func columnFault(name string) string {
	switch {
	case name == "":
		return "holds an empty column name"
	case strings.ContainsRune(name, 0):
		return "holds a NUL byte"
	case len(name) > maxName:
		return "is longer than Postgres' " + strconv.Itoa(maxName) + " bytes"
	}
	return ""
}

func expressionFault(x string) string {
	switch {
	case strings.TrimSpace(x) == "":
		return "is empty"
	case strings.ContainsRune(x, 0):
		return "holds a NUL byte"
	case len(x) > maxExpression:
		return "is longer than " + strconv.Itoa(maxExpression) + " bytes"
	}
	return ""
}
