package ddl

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// probe is a question to the catalog: whether one effect of a statement is there.
type probe struct {
	sql  string
	args []any
}

const (
	columnSQL = `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped
		AND (to_regtype($3) IS NULL OR atttypid = to_regtype($3)))`
	hasColumnSQL = `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped)`
	noColumnSQL  = `SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS (
		SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped)`
	notNullSQL    = `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND attnotnull = $3)`
	identitySQL   = `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND (attidentity <> '') = $3)`
	constraintSQL = `SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2 AND (convalidated OR NOT $3))`
	noConstraint  = `SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2)`
	partitionSQL  = `SELECT to_regclass($2) IS NOT NULL AND EXISTS (
		SELECT FROM pg_inherits WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2)) = $3`
	indexSQL    = `SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass($1) AND c.relname = $2 AND i.indisvalid)`
	relationSQL = `SELECT (to_regclass($1) IS NOT NULL) = $2`
	triggerSQL  = `SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = $2) = $3`
	policySQL   = `SELECT EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass($1) AND polname = $2) = $3`
	ruleSQL     = `SELECT EXISTS (SELECT FROM pg_rewrite WHERE ev_class = to_regclass($1) AND rulename = $2) = $3`
	schemaSQL   = `SELECT (to_regnamespace($1) IS NOT NULL) = $2`
	typeSQL     = `SELECT (to_regtype($1) IS NOT NULL) = $2`
	extension   = `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = $1) = $2`
	enumSQL     = `SELECT EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype($1) AND enumlabel = $2)`
	statsSQL    = `SELECT EXISTS (SELECT FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxname = $2
		AND (n.nspname = $1 OR $1 = '' AND n.nspname = ANY (current_schemas(false))))`
)

// Done tells whether a statement's effect is there already: applied before, by this or another run. A statement whose effect cannot be told,
// such as SET DEFAULT, is not done; those may be run again. Names decide: that a table of this name has the wanted columns is not looked at,
// but a column must have the wanted type, and an index must be valid.
func Done(ctx context.Context, q Querier, s Statement) (bool, error) {
	probes := s.probes()
	for _, p := range probes {
		rows, err := q.Query(ctx, p.sql, p.args...)
		if err != nil {
			return false, fmt.Errorf("look whether statement %d is done: %w", s.Number, err)
		}
		yes, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
		if err != nil {
			return false, fmt.Errorf("look whether statement %d is done: %w", s.Number, err)
		}
		if !yes {
			return false, nil
		}
	}
	return len(probes) > 0, nil
}

// probes are the effects of a statement that can be told. As a statement is atomic, all of them are there or none.
func (s Statement) probes() []probe {
	switch n := s.node.(type) {
	case *alterTable:
		var out []probe
		if n.Object == "OBJECT_TABLE" {
			for _, c := range n.Commands {
				out = append(out, c.Command.probes(n.Relation.name().quoted())...)
			}
		}
		return out
	case *createTable:
		return []probe{{relationSQL, []any{n.Relation.name().quoted(), true}}}
	case *createAs:
		return []probe{{relationSQL, []any{n.Into.Relation.name().quoted(), true}}}
	case *sequence:
		if strings.HasPrefix(strings.ToLower(s.SQL), "create") {
			return []probe{{relationSQL, []any{n.Sequence.name().quoted(), true}}}
		}
	case *view:
		if !n.Replace {
			return []probe{{relationSQL, []any{n.View.name().quoted(), true}}}
		}
	case *createIndex:
		return []probe{{indexSQL, []any{n.Relation.name().quoted(), n.Name}}}
	case *createTrigger:
		if !n.Replace {
			return []probe{{triggerSQL, []any{n.Relation.name().quoted(), n.Name, true}}}
		}
	case *policy:
		return []probe{{policySQL, []any{n.Table.name().quoted(), n.Name, true}}}
	case *statistics:
		if parts := texts(n.Names); len(parts) > 0 {
			return []probe{{statsSQL, []any{strings.Join(parts[:len(parts)-1], "."), parts[len(parts)-1]}}}
		}
	case *named:
		return n.probes()
	case *createDomain:
		return []probe{{typeSQL, []any{quoted(texts(n.Name)), true}}}
	case *alterEnum:
		if n.Old == "" {
			return []probe{{enumSQL, []any{quoted(texts(n.Type)), n.New}}}
		}
	case *drop:
		return n.probes()
	case *rename:
		return n.probes()
	}
	return nil
}

func quoted(parts []string) string { return pgx.Identifier(parts).Sanitize() }

func (c command) probes(table string) []probe {
	switch c.Type {
	case "AT_AddColumn":
		d := c.Def.Column
		if d.Type == nil {
			return []probe{{hasColumnSQL, []any{table, d.Name}}}
		}
		return []probe{{columnSQL, []any{table, d.Name, d.Type.quoted()}}}
	case "AT_DropColumn":
		return []probe{{noColumnSQL, []any{table, c.Name}}}
	case "AT_SetNotNull", "AT_DropNotNull":
		return []probe{{notNullSQL, []any{table, c.Name, c.Type == "AT_SetNotNull"}}}
	case "AT_AddIdentity", "AT_DropIdentity":
		return []probe{{identitySQL, []any{table, c.Name, c.Type == "AT_AddIdentity"}}}
	case "AT_AddConstraint":
		if k := c.Def.Constraint; k.Name != "" {
			return []probe{{constraintSQL, []any{table, k.Name, !k.NotValid}}}
		}
	case "AT_ValidateConstraint":
		return []probe{{constraintSQL, []any{table, c.Name, true}}}
	case "AT_DropConstraint":
		return []probe{{noConstraint, []any{table, c.Name}}}
	case "AT_AttachPartition", "AT_DetachPartition":
		return []probe{{partitionSQL, []any{table, c.Def.Partition.Name.name().quoted(), c.Type == "AT_AttachPartition"}}}
	}
	return nil
}

func (n *named) probes() []probe {
	switch {
	case n.Schema != "":
		return []probe{{schemaSQL, []any{quoted([]string{n.Schema}), true}}}
	case n.Extension != "":
		return []probe{{extension, []any{n.Extension, true}}}
	case len(n.Type) > 0:
		return []probe{{typeSQL, []any{quoted(texts(n.Type)), true}}}
	}
	return nil
}

func (n *drop) probes() []probe {
	var out []probe
	for _, parts := range n.names() {
		last := parts[len(parts)-1]
		switch n.Type {
		case "OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE":
			out = append(out, probe{relationSQL, []any{quoted(parts), false}})
		case "OBJECT_TRIGGER":
			out = append(out, probe{triggerSQL, []any{relationOf(n.Type, parts).quoted(), last, false}})
		case "OBJECT_POLICY":
			out = append(out, probe{policySQL, []any{relationOf(n.Type, parts).quoted(), last, false}})
		case "OBJECT_RULE":
			out = append(out, probe{ruleSQL, []any{relationOf(n.Type, parts).quoted(), last, false}})
		case "OBJECT_SCHEMA":
			out = append(out, probe{schemaSQL, []any{quoted(parts), false}})
		case "OBJECT_TYPE", "OBJECT_DOMAIN":
			out = append(out, probe{typeSQL, []any{quoted(parts), false}})
		case "OBJECT_EXTENSION":
			out = append(out, probe{extension, []any{last, false}})
		default:
			return nil
		}
	}
	return out
}

func (n *rename) probes() []probe {
	if n.Relation == nil {
		return nil
	}
	from := n.Relation.name()
	to := Name{from.Schema, n.New}
	switch n.Type {
	case "OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE":
		return []probe{{relationSQL, []any{from.quoted(), false}}, {relationSQL, []any{to.quoted(), true}}}
	case "OBJECT_COLUMN":
		return []probe{{noColumnSQL, []any{from.quoted(), n.Old}}, {hasColumnSQL, []any{from.quoted(), n.New}}}
	case "OBJECT_TABCONSTRAINT":
		return []probe{{noConstraint, []any{from.quoted(), n.Old}}, {constraintSQL, []any{from.quoted(), n.New, false}}}
	}
	return nil
}
