package job

import (
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/ranges"
)

// Between returns the spec of a job over a part of the first one's keys, from one, which belongs to it, up to another, which does not; a
// nil key is no bound. It takes a spec with a `where`: that alone tells rows that are done from those that are not, so that a row which
// both jobs see is still done once.
func (s Spec) Between(key []Column, from, to ranges.Key) (Spec, error) {
	if s.Where == "" {
		return s, Refusals{{Field: "where", Why: "is missing in the job's spec, so that nothing tells rows that are done from those that are not",
			Fix: "clone the whole job, or submit a spec with a where"}}
	}
	var bounds []string
	for _, b := range []struct {
		name, operator string
		at             ranges.Key
	}{{"from", ">=", from}, {"to", "<", to}} {
		if b.at == nil {
			continue
		}
		if len(b.at) != len(key) || b.at.Unbounded() {
			return s, Refusals{{Field: b.name, Value: b.at.String(), Why: fmt.Sprintf("is no key of this job, which has %d columns", len(key)),
				Fix: "write one text for each key column"}}
		}
		bounds = append(bounds, s.compare(key, b.operator, b.at))
	}
	if len(bounds) == 0 {
		return s, nil
	}
	span := strings.Join(bounds, " AND ")
	s.Where = "(" + s.Where + "\n) AND " + span
	if s.Check != "" { // of the other rows it says nothing
		s.Check = "NOT (" + span + ") OR (" + s.Check + "\n)"
	}
	return s, nil
}

// compare is the comparison of a table's key with one key, as SQL, in the order of the key's index. In a statement, where other tables may
// have columns of these names, they are qualified.
func (s Spec) compare(key []Column, operator string, at ranges.Key) string {
	columns, values := make([]string, len(key)), make([]string, len(key))
	for i, c := range key {
		columns[i] = quote(c.Name)
		if s.Statement != "" {
			columns[i] = quote(s.alias()) + "." + columns[i]
		}
		if c.Collation != "" {
			columns[i] += " COLLATE " + c.Collation
		}
		values[i] = "E'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(at[i]) + "'::" + c.Type
	}
	if len(key) == 1 {
		return columns[0] + " " + operator + " " + values[0]
	}
	return "(" + strings.Join(columns, ", ") + ") " + operator + " (" + strings.Join(values, ", ") + ")"
}
