package statement

import (
	"strings"

	"github.com/backfleet/backfleet/ranges"
)

// hashes are the hash functions of types that have a cheap one by a name that every supported PostgreSQL knows.
var hashes = map[string]string{
	"smallint": "hashint2", "integer": "hashint4", "bigint": "hashint8", "uuid": "uuid_hash", "text": "hashtext",
}

// hash is an integer of the row's key: the same for a row as long as its key is, in every session and after every restart, for hash
// indexes on disk rest on these functions. Keys of several columns, and of the other types, are hashed as a record is, which costs
// more, takes any type with a hash operator class, and mixes the columns: their sum or xor would put all rows of (n, n) into one pass.
func (t Target) hash() string {
	cols := make([]string, len(t.Key))
	for i, c := range t.Key {
		cols[i] = t.alias() + "." + Quote(c.Name)
	}
	if name := hashes[t.Key[0].Type]; name != "" && len(cols) == 1 {
		return "pg_catalog." + name + "(" + cols[0] + ")"
	}
	return "pg_catalog.hash_record(ROW(" + strings.Join(cols, ", ") + "))"
}

// taken is the predicate of a pass, to stand after another; nothing for one that takes all. The mask is never a remainder, which would
// be negative for half of the hashes.
func (t Target) taken(b binder, pass ranges.Pass) string {
	if pass.Whole() {
		return ""
	}
	return " AND (" + t.hash() + " & CAST(" + b.add(int32(pass.K-1)) + " AS integer)) = CAST(" + b.add(int32(pass.N)) + " AS integer)"
}

// Heat reads how many rows of a relation this session has updated since its statistics were last sent, within about a second, and how
// many of those updates were HOT.
func Heat(relation uint32) SQL {
	return SQL{"SELECT pg_catalog.pg_stat_get_xact_tuples_updated($1), pg_catalog.pg_stat_get_xact_tuples_hot_updated($1)", []any{relation}}
}
