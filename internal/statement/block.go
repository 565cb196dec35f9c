package statement

import (
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// SQLSTATEs that the ledger's functions raise. Nothing of the statement that met one is kept.
const (
	// StillOpen: a row that a batch in block order wrote matches `where` still, and would be met again at its new place.
	StillOpen = "BF001"
	// Rewritten: the relation has another file than the one whose row addresses the range spans.
	Rewritten = "BF002"
)

// walk are the columns whose values spans are made of.
func (t Target) walk() []job.Column {
	if t.Blocks {
		return tidKey
	}
	return t.Key
}

// unless is what a batch in block order returns of each row that it wrote: nothing, for a row that still matches `where` is an error.
func (t Target) unless() string {
	return "\n RETURNING CASE WHEN " + Paren(t.Where) + " THEN backfleet.still_open(" + t.keyText() + ") END"
}

// sameFile is true, or an error where the relation of the claim has another file than its range is of.
func (s Step) sameFile(p *params) string {
	if s.Claim.File == 0 {
		return "true"
	}
	return "backfleet.same_file(" + p.add(Target{Schema: s.Claim.Schema, Name: s.Claim.Table}.Relation()) + ", " + p.add(s.Claim.File) + ")"
}

// File reads which file a relation has now and how many blocks it has, the file first: one that is written anew meanwhile has more or fewer
// blocks than are told, but not this file any more.
const File = `SELECT pg_catalog.pg_relation_filenode($1::oid), pg_catalog.pg_relation_size($1::oid) / current_setting('block_size')::bigint`

// RowsPerBlock guesses how many rows a block of a relation holds, from what its last ANALYZE or VACUUM found.
const RowsPerBlock = `SELECT coalesce((SELECT CASE WHEN reltuples > 0 AND relpages > 0 THEN greatest(reltuples / relpages, 1) END FROM pg_catalog.pg_class WHERE oid = $1::oid), 60)::float8`

// Tried is the job's work over a span with an account of it: it returns how many rows were written, how many of them still match `where`,
// and how many bytes their written columns take. Run it only where it is rolled back.
func (t Target) Tried(s ranges.Span) SQL {
	var p params
	return SQL{"WITH backfleet_tried AS (\n" + t.work(t.todo(t.within(&p, s))) + "\n RETURNING " + Paren(t.Where) + " AS open, " + t.width() +
		" AS bytes)\nSELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried", p.args}
}

// Open sums up how many bytes the columns that the job writes take in the rows of a span that match `where`.
func (t Target) Open(s ranges.Span) SQL {
	var p params
	return SQL{"SELECT coalesce(sum(" + t.width() + "), 0)::float8 FROM " + t.from() + " WHERE " + t.todo(t.within(&p, s)), p.args}
}

// LastLook counts the rows of a span, those that match `where` and those whose `check` is not true, without the job's quarantine.
func (t Target) LastLook(id job.ID, relation uint32, s ranges.Span) SQL {
	var p params
	residual, failing := t.counts()
	text := "SELECT count(*), " + residual + ", " + failing + " FROM " + t.from() + " WHERE " + t.within(&p, s) +
		"\n  AND " + t.notQuarantined(&p, id, relation)
	return SQL{text, p.args}
}
