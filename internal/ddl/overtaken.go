package ddl

import (
	"context"
	"slices"
)

// overtaken tells whether a later statement of the same file has taken away what statement i made, so that its effect is gone for good and
// must not be made again: an index that became a constraint, a check that only led to NOT NULL, a table that has another name now.
//
// That an object is not there proves nothing by itself, for a first run finds none either. So a constraint counts as dropped again only if what
// stands between its making and its dropping is done as well; and where a file gives a table's name to another (t to t_old, t_new to t), the
// names prove nothing at all.
func overtaken(ctx context.Context, q Querier, statements []Statement, i int) (bool, error) {
	mine := statements[i].concerns()
	for k := len(statements) - 1; k > i; k-- {
		taken := statements[k].takes()
		if !slices.ContainsFunc(taken, func(o object) bool { return slices.Contains(mine, o) }) {
			continue
		}
		if swaps(statements, statements[k]) {
			continue
		}
		done, err := Done(ctx, q, statements[k])
		if err == nil && done && taken[0].kind == "constraint" {
			done, err = ledTo(ctx, q, statements[i+1:k], taken)
		}
		if done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// swaps tells whether a statement gives a table a name that the file takes from another.
func swaps(statements []Statement, s Statement) bool {
	n, ok := s.node.(*rename)
	if !ok || n.Relation == nil {
		return false
	}
	given := object{kind: "table", on: Name{n.Relation.Schema, n.New}}
	return slices.ContainsFunc(statements, func(other Statement) bool { return slices.Contains(other.takes(), given) })
}

// ledTo tells whether something between the making of a constraint and its dropping can be told as done, and nothing as not done.
func ledTo(ctx context.Context, q Querier, between []Statement, taken []object) (bool, error) {
	evidence := false
	for _, s := range between {
		if len(s.probes()) == 0 || slices.ContainsFunc(s.concerns(), func(o object) bool { return o.kind == "constraint" && slices.Contains(taken, o) }) {
			continue
		}
		done, err := Done(ctx, q, s)
		if err != nil || !done {
			return false, err
		}
		evidence = true
	}
	return evidence, nil
}

// object is something in the database, by the names that a file uses.
type object struct {
	kind string // constraint, index or table
	on   Name   // the table; of an index none
	name string
}

// concerns are the objects that a statement makes or works on.
func (s Statement) concerns() []object {
	var out []object
	for _, n := range s.names {
		out = append(out, object{kind: "table", on: n})
	}
	switch n := s.node.(type) {
	case *createIndex:
		out = append(out, object{kind: "index", name: n.Name})
	case *alterTable:
		for _, c := range n.Commands {
			switch {
			case c.Command.Type == "AT_ValidateConstraint":
				out = append(out, object{kind: "constraint", on: n.Relation.name(), name: c.Command.Name})
			case c.Command.Def.Constraint != nil && c.Command.Type == "AT_AddConstraint":
				out = append(out, object{kind: "constraint", on: n.Relation.name(), name: c.Command.Def.Constraint.Name})
			}
		}
	}
	return out
}

// takes are the objects that are no longer there, under their name, after a statement.
func (s Statement) takes() []object {
	var out []object
	switch n := s.node.(type) {
	case *alterTable:
		for _, c := range n.Commands {
			switch {
			case c.Command.Type == "AT_DropConstraint":
				out = append(out, object{kind: "constraint", on: n.Relation.name(), name: c.Command.Name})
			case c.Command.Def.Constraint != nil && c.Command.Def.Constraint.Index != "":
				out = append(out, object{kind: "index", name: c.Command.Def.Constraint.Index})
			}
		}
	case *rename:
		if n.Type == "OBJECT_TABLE" && n.Relation != nil {
			out = append(out, object{kind: "table", on: n.Relation.name()})
		}
	case *drop:
		for i, parts := range n.names() {
			switch n.Type {
			case "OBJECT_TABLE":
				out = append(out, object{kind: "table", on: s.listed()[i]})
			case "OBJECT_INDEX":
				out = append(out, object{kind: "index", name: parts[len(parts)-1]})
			}
		}
	}
	return out
}
