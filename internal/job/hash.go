package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
)

// identity is what makes a job this job and no other. Limits are not part of it: they may change while it runs.
type identity struct {
	Name         string            `json:"name"`
	Database     string            `json:"database"`
	Schema       string            `json:"schema"`
	Table        string            `json:"table"`
	Set          map[string]string `json:"set"`
	Where        string            `json:"where,omitempty"`
	Key          []string          `json:"key,omitempty"`
	Check        string            `json:"check,omitempty"`
	LateRows     string            `json:"late_rows,omitempty"`
	RowsPerRange int               `json:"rows_per_range"`
	// Left out of the JSON where empty, so that a job of before there were statements keeps its hash.
	Statement string `json:"statement,omitempty"`
	Alias     string `json:"alias,omitempty"`
	Order     Order  `json:"order,omitempty"`
}

func (s Spec) identity() identity {
	s = s.WithDefaults()
	schema, table, err := SplitTable(s.Table)
	if err != nil {
		table = s.Table // such a spec is refused; its hash must still not panic
	}
	alias := s.Alias
	if alias == table {
		alias = "" // what it is without being said
	}
	order := s.Order
	if order == OrderAuto {
		order = "" // what it is without being said
	}
	return identity{s.Name, s.Database, schema, table, s.Set, s.Where, s.Key, s.Check, s.LateRows, s.RowsPerRange, s.Statement, alias, order}
}

// Hash returns the sha256, in hex, of what makes this job itself: name, database, table, set or statement and alias, where, key,
// order, check, late_rows and rows_per_range with defaults applied. `users` and `public.users` are one table, so they hash alike.
func (s Spec) Hash() string {
	text, err := json.Marshal(s.identity()) // object keys come sorted
	if err != nil {
		panic(err) // strings, ints and maps of strings always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Diff names the fields of the identity in which two specs differ; it is empty exactly where their hashes are equal.
func Diff(a, b Spec) []string {
	x, y := a.identity(), b.identity()
	var changed []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"name", x.Name == y.Name},
		{"database", x.Database == y.Database},
		{"table", x.Schema == y.Schema && x.Table == y.Table},
		{"set", maps.Equal(x.Set, y.Set)},
		{"statement", x.Statement == y.Statement},
		{"alias", x.Alias == y.Alias},
		{"where", x.Where == y.Where},
		{"key", slices.Equal(x.Key, y.Key)},
		{"order", x.Order == y.Order},
		{"check", x.Check == y.Check},
		{"late_rows", x.LateRows == y.LateRows},
		{"rows_per_range", x.RowsPerRange == y.RowsPerRange},
	} {
		if !f.same {
			changed = append(changed, f.name)
		}
	}
	return changed
}
