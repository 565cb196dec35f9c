package contract

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// object is what is dropped with the columns.
type object struct {
	kind, name, definition, comment string
	valid                           bool
	table                           string
	partitioned                     bool
	contype, indexDefinition        string
	full                            string // the index's or the statistics' own name
	clustered, identity             bool
	options, deferrable             string
	parent                          string // the index of the partitioned table that it is a part of
}

func (w *scriptWriter) objects(ctx context.Context, pairs []uint32, numbers []int32) error {
	rows, err := w.q.Query(ctx, undoObjectsSQL, pairs, numbers)
	if err != nil {
		return fmt.Errorf("read what goes with %s: %w", w.Target, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o object, err error) {
		var ord int
		return o, row.Scan(&o.kind, &o.name, &o.definition, &o.comment, &o.valid, &o.table, &o.partitioned, &o.contype, &o.indexDefinition, &o.full,
			&o.clustered, &o.identity, &o.options, &o.deferrable, &ord, &o.parent)
	})
	if err != nil {
		return fmt.Errorf("read what goes with %s: %w", w.Target, err)
	}
	for _, o := range all {
		w.object(o)
	}
	w.Finish = append(w.Finish, w.attach...)
	return nil
}

func (w *scriptWriter) object(o object) {
	concurrently := func(create string) string {
		if o.partitioned {
			return create
		}
		return strings.Replace(create, "INDEX ", "INDEX CONCURRENTLY ", 1)
	}
	what := "INDEX " + o.full
	switch o.kind {
	case "constraint":
		what = "CONSTRAINT " + quote(o.name) + " ON " + o.table
		w.constraint(o, concurrently)
	case "index":
		if !o.valid {
			w.Lost = append(w.Lost, "index "+o.full+" was invalid")
			return
		}
		w.finish("%s", concurrently(o.definition)) // of a partitioned table: ON ONLY it, valid once each partition's is attached
		if o.parent != "" {
			w.attach = append(w.attach, fmt.Sprintf("ALTER INDEX %s ATTACH PARTITION %s", o.parent, o.full))
		}
	case "statistics":
		what = "STATISTICS " + o.full
		w.finish("%s", o.definition)
		if o.options != "" {
			w.finish("ALTER STATISTICS %s SET STATISTICS %s", o.full, o.options)
		}
	case "trigger":
		what = "TRIGGER " + quote(o.name) + " ON " + o.table
		w.finish("%s", o.definition)
		if mode := map[string]string{"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[o.contype]; mode != "" {
			w.finish("ALTER TABLE %s %s TRIGGER %s", o.table, mode, quote(o.name))
		}
	}
	if o.clustered {
		w.finish("ALTER TABLE %s CLUSTER ON %s", o.table, quote(last(o.full)))
	}
	if o.identity {
		w.finish("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", o.table, quote(last(o.full)))
	}
	if o.comment != "" {
		w.finish("COMMENT ON %s IS %s", what, literal(o.comment))
	}
}

func (w *scriptWriter) constraint(o object, concurrently func(string) string) {
	add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s ", o.table, quote(o.name))
	switch {
	case (o.contype == "p" || o.contype == "u") && !o.partitioned:
		w.finish("%s", concurrently(o.indexDefinition))
		w.finish("%s%s USING INDEX %s%s", add, map[string]string{"p": "PRIMARY KEY", "u": "UNIQUE"}[o.contype], quote(last(o.full)), o.deferrable)
	case (o.contype == "c" || o.contype == "f" && !o.partitioned) && o.valid:
		w.finish("%s%s NOT VALID", add, o.definition)
		w.finish("ALTER TABLE %s VALIDATE CONSTRAINT %s", o.table, quote(o.name))
	default:
		w.finish("%s%s", add, o.definition)
	}
}
