package statement

import (
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// tidKey is what a span of blocks is compared with: where a row version lies.
var tidKey = []job.Column{{Name: "ctid", Type: "tid"}}

// blocks is the predicate of a span of blocks: a TID range scan.
func (t Target) blocks(b binder, s ranges.Span) string {
	t.Key = tidKey
	return t.within(b, s)
}

// Count counts, in one pass over a span of blocks, the row versions that the transaction's snapshot sees up to a bound of the key, those of
// them that still match `where`, and those whose `check` is not true. It returns (relation, its file, rows, residual, check failures):
// only with the relation and the file that were planned do the blocks mean anything.
func (t Target) Count(s Step, bound ranges.Key) SQL {
	var p params
	where := t.blocks(&p, s.Span) + " AND " + t.within(&p, ranges.Span{Hi: bound, HiClosed: true})
	if s.Exclude {
		where += "\n  AND " + t.notQuarantined(&p, s.Claim.Ref.Job, s.Claim.Relation)
	}
	residual, failing := t.counts()
	return SQL{"SELECT " + regclass(t) + "::oid, pg_catalog.pg_relation_filenode(" + regclass(t) + "), count(*), " + residual + ", " + failing +
		"\n FROM " + t.from() + "\n WHERE " + where, p.args}
}

// counts are the aggregates of a proof.
func (t Target) counts() (residual, failing string) {
	residual, failing = "0::bigint", "0::bigint"
	if t.Where != "" {
		residual = "count(*) FILTER (WHERE " + Paren(t.Where) + ")"
	}
	if t.Check != "" {
		failing = "count(*) FILTER (WHERE " + Paren(t.Check) + " IS NOT TRUE)"
	}
	return residual, failing
}

// Counted moves the checkpoint over blocks that [Target.Count] has counted, and adds what it found. A snapshot has one answer, whoever
// asks and when, so the two need not be one transaction. It returns (held, moved).
func (t Target) Counted(s Step, blocks, residual, failing int64) SQL {
	var p params
	text := "WITH " + s.fence(&p) + ",\n"
	text += s.advance(&p, "residual = residual + "+p.add(residual)+", check_fails = check_fails + "+p.add(failing)+
		", blocks_left = blocks_left - "+p.add(blocks), "backfleet_lock")
	return SQL{text + outcome, p.args}
}
