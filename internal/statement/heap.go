package statement

import (
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// tidKey is what a span of row addresses is compared with: where a row version lies.
var tidKey = []job.Column{{Name: "ctid", Type: "tid"}}

// walk are the columns whose values spans are made of.
func (t Target) walk() []job.Column {
	if t.Blocks {
		return tidKey
	}
	return t.Key
}

// blocks is the predicate of a span of row addresses, whatever the job walks by: a TID range scan.
func (t Target) blocks(b binder, s ranges.Span) string {
	t.Blocks = true
	return t.within(b, s)
}

// File reads which file a relation has now and how many blocks it has, the file first: one that is written anew meanwhile has more or fewer
// blocks than are told, but not this file any more.
const File = `SELECT pg_catalog.pg_relation_filenode($1::oid), pg_catalog.pg_relation_size($1::oid) / current_setting('block_size')::bigint`

// RowsPerBlock guesses how many rows a block of a relation holds, from what its last ANALYZE or VACUUM found.
const RowsPerBlock = `SELECT coalesce((SELECT CASE WHEN reltuples > 0 AND relpages > 0 THEN greatest(reltuples / relpages, 1) END FROM pg_catalog.pg_class WHERE oid = $1::oid), 60)::float8`
