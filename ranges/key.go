// Package ranges is the arithmetic of key ranges: keys, half-open spans, checkpoints, boundaries, coverage and gaps.
//
// It does no I/O. A key is held as Postgres' own text form, so any btree-ordered type works; this package therefore never
// compares two keys by order, only by identity. Order is Postgres' business: boundaries come from the table through the
// [Stepper] that the planner is given. Row addresses alone it knows the order of: see [Address].
package ranges

import (
	"slices"
	"strings"
)

// Key is one value of a table's key: one text a key column, each in Postgres' text form under the pinned session settings
// (DateStyle ISO, TimeZone UTC). A nil Key is unbounded; there is no "infinity" key.
type Key []string

// Unbounded reports whether k stands for the open end of the key space.
func (k Key) Unbounded() bool { return k == nil }

// Equal reports whether both keys are the same texts. Two unbounded keys are equal.
func (k Key) Equal(o Key) bool { return (k == nil) == (o == nil) && slices.Equal(k, o) }

// String shows a key to a person: "unbounded", "42", or "(7, abc)".
func (k Key) String() string {
	switch len(k) {
	case 0:
		return "unbounded"
	case 1:
		return k[0]
	}
	return "(" + strings.Join(k, ", ") + ")"
}
