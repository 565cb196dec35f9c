package ddl

import (
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
)

// LockMode is one of the table-level locks of PostgreSQL, weakest first.
type LockMode int

// The modes. Share and all above it make writers wait, AccessExclusive readers as well.
const (
	AccessShare LockMode = iota + 1
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	Exclusive
	AccessExclusive
)

// String names the mode as LOCK TABLE does.
func (m LockMode) String() string {
	names := [...]string{"none", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
		"ACCESS EXCLUSIVE"}
	if m < 0 || int(m) >= len(names) {
		return fmt.Sprintf("lock mode %d", int(m))
	}
	return names[m]
}

// MarshalText writes the mode's name.
func (m LockMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Blocks tells whom the mode keeps waiting: "", "writes" or "reads and writes".
func (m LockMode) Blocks() string {
	switch {
	case m == AccessExclusive:
		return "reads and writes"
	case m >= Share:
		return "writes"
	}
	return ""
}

// Lock is the strongest lock that a statement takes on one relation.
type Lock struct {
	Relation Name     `json:"relation"`
	Mode     LockMode `json:"mode"`
}

// Name is the name of a relation.
type Name struct{ Schema, Name string }

var plain = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// String returns the name as it can be written in SQL, quoted only where it must be.
func (n Name) String() string {
	if n.Schema == "" {
		return ident(n.Name)
	}
	return ident(n.Schema) + "." + ident(n.Name)
}

// MarshalText writes the name as String does.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// quoted returns the name with both parts always quoted, for statements that are executed.
func (n Name) quoted() string {
	if n.Schema == "" {
		return pgx.Identifier{n.Name}.Sanitize()
	}
	return pgx.Identifier{n.Schema, n.Name}.Sanitize()
}

// ident writes an identifier for a person to read. Keywords are not known here; what is executed is always quoted.
func ident(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return pgx.Identifier{name}.Sanitize()
}
