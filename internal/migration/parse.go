package migration

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/nearest"
)

// fields are the fields of a migration file, in the order in which they are documented.
var fields = []string{"name", "database", "table", "from", "to", "forward", "backward", "backfill", "soak"}

// ParseSpec reads a migration file, applies the defaults and validates what can be validated without the database. It is as strict as
// [job.ParseSpec]. file names the source in errors; it is not opened. The error is a [job.Refusals].
func ParseSpec(text []byte, file string) (Spec, error) {
	root, err := job.ParseDocument(text, file)
	if err != nil {
		return Spec{}, err
	}
	spec := Spec{Backfill: Backfill(job.EmptySection()), Soak: DefaultSoak()}
	lines := map[string]int{}
	var rs job.Refusals
	var rest []*ast.MappingValueNode
	for _, v := range root.Values {
		name := v.Key.String()
		lines[name] = v.Key.GetToken().Position.Line
		switch {
		case !slices.Contains(fields, name):
			rs = append(rs, job.Refusal{Where: place(file, lines[name]), Field: name, Why: "is not a field of a migration", Fix: nearest.Hint(name, fields)})
		case name == "backfill":
			section, err := job.ParseSection(v.Value, file, name)
			if err != nil {
				var refused job.Refusals
				if !errors.As(err, &refused) {
					return Spec{}, err
				}
				rs = append(rs, refused...)
			}
			spec.Backfill = Backfill(section)
		case name == "soak":
			rs = append(rs, readSoak(v.Value, file, &spec.Soak)...)
		default:
			rest = append(rest, v)
		}
	}
	root.Values = rest
	if err := yaml.NodeToValue(root, &spec, yaml.Strict()); err != nil {
		rs = append(rs, mistyped(err, file))
	}
	if len(rs) > 0 {
		return Spec{}, rs
	}
	spec = spec.WithDefaults()
	rs = spec.refusals()
	for i := range rs {
		rs[i].Where = place(file, lines[top(rs[i].Field)])
	}
	if len(rs) > 0 {
		return Spec{}, rs
	}
	return spec, nil
}

// readSoak reads the times that a file names; one of 0s is the file's word, not a default.
func readSoak(n ast.Node, file string, into *Soak) (rs job.Refusals) {
	soaks := map[string]*Period{"dual_write": &into.DualWrite, "reads": &into.Reads, "drop": &into.Drop}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return job.Refusals{{Where: place(file, n.GetToken().Position.Line), Field: "soak", Why: "is not fields with times", Fix: "write it as soak: {dual_write: 24h}"}}
	}
	for _, v := range m.Values {
		name := v.Key.String()
		r := job.Refusal{Where: place(file, v.Key.GetToken().Position.Line), Field: "soak." + name}
		soak := soaks[name]
		if soak == nil {
			r.Why, r.Fix = "is not a soak", nearest.Hint(name, []string{"dual_write", "reads", "drop"})
			rs = append(rs, r)
		} else if err := soak.UnmarshalText([]byte(v.Value.String())); err != nil {
			r.Value, r.Why, r.Fix = v.Value.String(), "is not a time", "write it like 24h, 7d or 1d12h"
			rs = append(rs, r)
		}
	}
	return rs
}

// mistyped is what the YAML library says of a value in the words of the file.
func mistyped(err error, file string) job.Refusal {
	r := job.Syntax(err, file)
	var unknown *yaml.UnknownFieldError
	var kind *yaml.TypeError
	switch {
	case errors.As(err, &unknown):
		r.Why, r.Fix = strings.TrimPrefix(r.Why, "not valid YAML: ")+" is not known here", "see the migration file in docs/five-phases.md"
	case errors.As(err, &kind) && kind.StructFieldName != nil:
		of, field, _ := strings.Cut(*kind.StructFieldName, ".")
		r.Field = strings.TrimPrefix(strings.ToLower(of+"."+field), "spec.")
		r.Why, r.Fix = "is of the wrong kind", "write "+shapes[r.Field]
		if shapes[r.Field] == "" {
			r.Fix = "write text"
		}
	}
	return r
}

// shapes is how the fields are written that are not text.
var shapes = map[string]string{
	"from": "{columns: [email]}", "to": "{columns: [{name: email_norm, type: text}]}", "forward": "{email_norm: lower(email)}",
	"backward": "{email: email_norm}", "from.columns": "[email]", "to.columns": "[{name: email_norm, type: text}]", "to.key": "[user_id]",
}

func place(file string, line int) string {
	switch {
	case line == 0:
		return file
	case file == "":
		return strconv.Itoa(line)
	}
	return file + ":" + strconv.Itoa(line)
}

// top is the field at the top of the file that a path begins with.
func top(path string) string {
	for i, r := range path {
		if r == '.' || r == '[' {
			return path[:i]
		}
	}
	return path
}
