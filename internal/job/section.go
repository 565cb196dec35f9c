package job

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/backfleet/backfleet/internal/nearest"
)

// sectionFields are the fields of a spec that a section of another file may hold: how a table is walked, not what is done to it.
var sectionFields = []string{"where", "key", "order", "check", "late_rows", "rows_per_range", "weight", "workers", "batch", "throttle", "on_error", "verify"}

// ParseDocument reads YAML as [ParseSpec] does, with the same bounds, and returns its one mapping. The error is a [Refusals].
func ParseDocument(text []byte, file string) (*ast.MappingNode, error) {
	r := specReader{file: file}
	root, err := document(text)
	if err != nil {
		return nil, Refusals{r.syntax(err)}
	}
	return root, nil
}

// Syntax is what the YAML library says of a file, in one line.
func Syntax(err error, file string) Refusal {
	r := specReader{file: file}
	return r.syntax(err)
}

// ParseSection reads the fields of a job that another file holds below path, such as `backfill` in a migration's: all but the job's
// name, its table and what it writes. The spec has the defaults. The error is a [Refusals] whose fields begin with path; limits are
// validated by [Spec.Validate] of the whole job.
func ParseSection(n ast.Node, file, path string) (Spec, error) {
	r := specReader{file: file, lines: map[string]int{}, spec: Spec{RowsPerRange: DefaultRowsPerRange, Limits: defaultLimits()}}
	r.each(n, path, func(name string, v ast.Node) {
		texts := map[string]*string{"where": &r.spec.Where, "check": &r.spec.Check, "late_rows": &r.spec.LateRows,
			"order": (*string)(&r.spec.Order)}
		switch into, isText := texts[name]; {
		case isText:
			r.text(v, join(path, name), into)
		case name == "key":
			r.key(v)
		case name == "rows_per_range":
			r.rowsPerRange(v)
		case slices.Contains(sectionFields, name):
			readSetting(&r, v, &limits, path, name, &r.spec.Limits)
		default:
			r.refuse(v, join(path, name), "", "is not a field of "+path, nearest.Hint(name, sectionFields))
		}
	})
	for i, refused := range r.refused { // those of fields that a job file has at its top
		if refused.Field != path && !strings.HasPrefix(refused.Field, path+".") {
			r.refused[i].Field = join(path, refused.Field)
		}
	}
	if len(r.refused) > 0 {
		return Spec{}, r.refused
	}
	return r.spec, nil
}

// EmptySection is what [ParseSection] returns where the section is left out: the defaults.
func EmptySection() Spec { return Spec{RowsPerRange: DefaultRowsPerRange, Limits: defaultLimits()} }
