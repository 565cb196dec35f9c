package preflight

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
)

// Hash is the SHA-256, in hex, of what a plan would do: the spec with its limits, the table and its key, the columns that it writes, what
// its names mean, and the triggers and foreign keys that it would set off. It leaves out what changes by itself, such as counts, sizes
// and leaf partitions, so that it stays the same until the plan itself does not: an approval is bound to it.
func (p Plan) Hash() string {
	table := p.Table
	table.Leaves, table.KeyIndex = nil, "" // of the first leaf, which may go
	text, err := json.Marshal(struct {
		Spec        job.Spec
		Table       catalog.Table
		Key         []job.Column
		SearchPath  string
		Columns     []Written
		Triggers    []Trigger
		ForeignKeys []ForeignKey
	}{p.Spec, table, p.Key, p.SearchPath, p.Columns, ordered(p.Triggers, func(t Trigger) string { return t.Name }), ordered(p.ForeignKeys, func(f ForeignKey) string { return f.Name })})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func ordered[T any](all []T, name func(T) string) []T {
	return slices.SortedStableFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}
