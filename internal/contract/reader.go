package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// Kind says what a reader is.
type Kind string

// The kinds of a reader. All but the last ones are what Postgres' catalog knows.
const (
	View            Kind = "view"
	Materialized    Kind = "materialized view"
	Rule            Kind = "rule"
	Function        Kind = "function"
	Trigger         Kind = "trigger"
	Index           Kind = "index"
	PrimaryKey      Kind = "primary key"
	Unique          Kind = "unique constraint"
	CheckConstraint Kind = "check constraint"
	Exclusion       Kind = "exclusion constraint"
	ForeignKey      Kind = "foreign key"
	Referencing     Kind = "referencing foreign key" // of another table, on the target
	Generated       Kind = "generated column"
	Default         Kind = "default"
	Sequence        Kind = "sequence"
	Statistics      Kind = "statistics"
	Policy          Kind = "policy"
	Publication     Kind = "publication"
	Table           Kind = "table" // that inherits
	PartitionKey    Kind = "partition key"
	Inheritance     Kind = "inheritance"
	RowType         Kind = "row type"
	Grant           Kind = "grant"
	Other           Kind = "object"
	Statement       Kind = "statement"      // of pg_stat_statements
	Session         Kind = "session"        // a client that is connected now
	ForeignServer   Kind = "foreign server" // another database that is connected now
	CronJob         Kind = "cron job"       // of pg_cron
)

// Certainty says how a reader is known.
type Certainty string

// Sure is what Postgres itself knows. Maybe is a text that holds the names: they may mean something else.
const (
	Sure  Certainty = "sure"
	Maybe Certainty = "maybe"
)

// Fate is what becomes of a reader at the drop.
type Fate string

// The fates.
const (
	Blocks Fate = "blocks" // Postgres refuses the drop while it is there
	Goes   Fate = "goes"   // it is dropped with the target, without a word
	Breaks Fate = "breaks" // it fails, or tells less, when it next runs
)

// Reader is one that reads what shall be dropped.
type Reader struct {
	Kind      Kind      `json:"kind"`
	Object    string    `json:"object"` // quoted and qualified
	Certainty Certainty `json:"certainty"`
	AtDrop    Fate      `json:"at_drop"`
	// Shared says that it serves other columns as well, which lose it where it goes.
	Shared bool `json:"shared,omitempty"`
	// Writes says that writes of the table would fail by it, not only its own reading.
	Writes bool   `json:"writes,omitempty"`
	Why    string `json:"why"`
	Fix    string `json:"fix"`
	Calls  int64  `json:"calls,omitempty"` // of a statement, since its statistics began

	id string // of a statement, to find it again in a later look
}

// Forbids says that the drop must wait for it: it is sure, and would fail, block, or be lost to other columns; or writes would fail by it.
func (r Reader) Forbids() bool {
	if r.Writes {
		return true
	}
	if r.Certainty != Sure {
		return false
	}
	return r.AtDrop != Goes || r.Shared && r.Kind != Statistics
}

// String tells the reader in one line.
func (r Reader) String() string {
	return fmt.Sprintf("%s %s (%s, %s): %s", r.Kind, r.Object, r.Certainty, r.AtDrop, r.Why)
}

// Forbidding are the readers for which a drop must wait.
func Forbidding(all []Reader) (those []Reader) {
	for _, r := range all {
		if r.Forbids() {
			those = append(those, r)
		}
	}
	return those
}

// refusals names the readers for which a drop must wait.
func refusals(all []Reader) error {
	var rs job.Refusals
	for _, r := range Forbidding(all) {
		rs = append(rs, job.Refusal{Field: "drop", Value: string(r.Kind) + " " + r.Object, Why: r.Why, Fix: r.Fix})
	}
	return rs.Err()
}

func sortReaders(all []Reader) {
	rank := func(r Reader) int {
		switch {
		case r.Forbids():
			return 0
		case r.Certainty == Sure:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b Reader) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Object, b.Object))
	})
}

// told is what is to be said of a dependent that Postgres knows.
func told(kind Kind, fate Fate, shared bool) (why, fix string) {
	switch {
	case kind == Generated && fate == Goes: // up to version 14 of Postgres
		return "is computed from it, and is silently dropped with it", "drop its expression or the column yourself first: ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION"
	case fate == Goes && shared:
		return "is dropped with it, though it serves other columns too", "make its replacement without the column, then drop it yourself"
	case fate == Goes:
		return "is dropped with it", "nothing, if nobody needs it: the undo script makes it again"
	}
	switch kind {
	case View, Materialized:
		return "reads it", "replace it: CREATE OR REPLACE VIEW cannot take a column away, so DROP and CREATE it in one transaction, or let it read the new column under the old name"
	case Function:
		return "reads it in its body", "replace it with one that reads the new schema"
	case Trigger:
		return "fires on it, or looks at it in WHEN", "make it anew without the column"
	case Policy:
		return "decides by it who sees which row", "ALTER POLICY it to the new schema"
	case Rule:
		return "reads it", "replace it with one that reads the new schema"
	case Generated:
		return "is computed from it", "drop its expression or the column first: ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION"
	case Referencing:
		return "refers to it", "point it to the new key, or drop it"
	case Publication:
		return "names it in its column list or row filter", "ALTER PUBLICATION ... SET TABLE without it, once its subscribers do without it"
	case Table:
		return "inherits from it", "drop it first, or ALTER TABLE ... NO INHERIT"
	default:
	}
	return "depends on it", "drop it, or make it depend on the new schema"
}
