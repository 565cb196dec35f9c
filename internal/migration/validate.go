package migration

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// WithDefaults returns the spec with its schemas named.
func (s Spec) WithDefaults() Spec {
	s.Table, s.To.Table = qualified(s.Table), qualified(s.To.Table)
	return s
}

func qualified(table string) string {
	if schema, _, err := job.SplitTable(table); err == nil && schema == "" {
		return "public." + table
	}
	return table
}

// Validate checks a spec, defaults applied, as far as that goes without its database. The error is a [job.Refusals].
func (s Spec) Validate() error { return s.refusals().Err() }

func (s Spec) refusals() (rs job.Refusals) {
	add := func(field, value, why, fix string) {
		rs = append(rs, job.Refusal{Field: field, Value: value, Why: why, Fix: fix})
	}
	if len(s.From.Columns) == 0 {
		add("from.columns", "", "is missing", "write the old columns, which the last phase drops, like [email]")
	}
	unique(s.From.Columns, "from.columns", add)
	if len(s.To.Columns) == 0 {
		add("to.columns", "", "is missing", "write the new columns, like [{name: email_norm, type: text}]")
	}
	unique(s.NewColumns(), "to.columns", add)
	for i, c := range s.To.Columns {
		field := fmt.Sprintf("to.columns[%d]", i)
		switch {
		case c.Name == "":
			add(field+".name", "", "is missing", "write the column's name")
		case strings.TrimSpace(c.Type) == "":
			add(field+".type", "", "is missing", "write the column's type, like text")
		}
		if s.Forward[c.Name] == "" && c.Name != "" {
			add("forward", c.Name, "is a new column that nothing fills", "write how it follows from the old ones, like {"+c.Name+": lower(email)}")
		}
	}
	known(s.Forward, s.NewColumns(), "forward", "a new column of `to`", add)
	known(s.Backward, s.From.Columns, "backward", "an old column of `from`", add)
	s.tables(add)
	for _, f := range []struct {
		field string
		soak  Period
	}{{"soak.dual_write", s.Soak.DualWrite}, {"soak.reads", s.Soak.Reads}, {"soak.drop", s.Soak.Drop}} {
		if f.soak.D() > 366*day {
			add(f.field, f.soak.String(), "is longer than a year", "write a time like 24h or 7d")
		}
	}
	return append(rs, s.jobRefusals()...)
}

// tables checks what the new schema says of its place.
func (s Spec) tables(add func(field, value, why, fix string)) {
	if !s.NewTable() {
		if len(s.To.Key) > 0 {
			add("to.key", strings.Join(s.To.Key, ", "), "is a key without a table", "name the new table with to.table, or leave the key out")
		}
		for _, c := range s.NewColumns() {
			if slices.Contains(s.From.Columns, c) {
				add("to.columns", c, "is an old column too", "give the new column a name of its own")
			}
		}
		return
	}
	if s.To.Table == s.Table {
		add("to.table", s.To.Table, "is the old table", "leave it out for new columns in the same table, or name a new table")
	}
	if len(s.To.Key) == 0 {
		add("to.key", "", "is missing", "write the new table's primary key, which must follow from the old table's key")
	}
	for _, c := range s.To.Key {
		if !slices.Contains(s.NewColumns(), c) {
			add("to.key", c, "is not a column of to.columns", "write columns of the new table")
		}
	}
}

// jobRefusals are those of the backfill that the migration makes, in the words of the migration's file.
func (s Spec) jobRefusals() (rs job.Refusals) {
	var of job.Refusals
	j := s.Job()
	if len(j.Set) == 0 && j.Statement == "" {
		j.Set = map[string]string{"nothing": "NULL"} // said above already
	}
	_ = errors.As(j.WithDefaults().Validate(), &of) // else there are none
	for _, r := range of {
		if !slices.Contains([]string{"name", "database", "table"}, top(r.Field)) {
			switch field, _, _ := strings.Cut(r.Field, "."); field {
			case "set", "statement":
				r.Field = "forward" + strings.TrimPrefix(r.Field, field)
			default:
				r.Field = "backfill." + r.Field
			}
		}
		rs = append(rs, r)
	}
	return rs
}

func unique(names []string, field string, add func(field, value, why, fix string)) {
	for i, n := range names {
		if n != "" && slices.Contains(names[:i], n) {
			add(field, n, "stands in it twice", "write each column once")
		}
	}
}

func known(of map[string]string, names []string, field, what string, add func(field, value, why, fix string)) {
	for _, n := range slices.Sorted(maps.Keys(of)) {
		if !slices.Contains(names, n) {
			add(field, n, "is not "+what, "write one of "+strings.Join(names, ", "))
		}
		if strings.TrimSpace(of[n]) == "" {
			add(field+"."+n, "", "is empty", "write a SQL expression")
		}
	}
}
