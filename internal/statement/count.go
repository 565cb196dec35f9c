package statement

import (
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

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

// look counts the rows that fulfil a condition, those of them that match `where` and those whose `check` is not true.
func (t Target) look(condition string) string {
	return "SELECT " + t.account() + " FROM " + t.from() + " WHERE " + condition
}

// account are the counts of rows, and of what is open among them.
func (t Target) account() string {
	residual, failing := t.counts()
	return "count(*), " + residual + ", " + failing
}

// Look counts the rows of a span, those that match `where` and those whose `check` is not true.
func (t Target) Look(s ranges.Span) SQL {
	var p params
	return SQL{t.look(t.within(&p, s)), p.args}
}

// LastLook is a [Target.Look] without the job's quarantine.
func (t Target) LastLook(id job.ID, relation uint32, s ranges.Span) SQL {
	var p params
	return SQL{t.look(t.within(&p, s) + "\n  AND " + t.notQuarantined(&p, id, relation)), p.args}
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
	return SQL{"SELECT " + regclass(t) + "::oid, pg_catalog.pg_relation_filenode(" + regclass(t) + "), " + t.account() + "\n FROM " + t.from() +
		"\n WHERE " + where, p.args}
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
