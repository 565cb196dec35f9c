package statement

import (
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Step is one move of a claimed range: from the claim's checkpoint over Span to the checkpoint To.
type Step struct {
	Claim   job.Claim // its Checkpoint is the one that must still stand
	Span    ranges.Span
	Pass    ranges.Pass // takes a part of the span's keys
	To      ranges.Checkpoint
	Last    bool // the range ends with this step: it becomes done in the same transaction
	Keys    int  // about how many keys the span holds; for progress only
	Exclude bool // leave out rows in quarantine
}

// fence is to the rarer statements what backfleet.lock is to a batch: it locks the claim's ledger row if it still has this fence, this
// token and this checkpoint, and no brake is on. Every other part of the statement acts only if it returned a row. Under READ
// COMMITTED a claim that raises the fence while this waits for the lock makes it return none. So does a table that was swapped for
// another of its name: the name is resolved with that of the rows. The CASE keeps the planner from weighing what is true of one
// row at most.
func (s Step) fence(p *params) string {
	c := s.Claim
	return `backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = ` + p.add(string(c.Ref.Job)) + ` AND index = ` + p.add(c.Ref.Index) + `
   AND CASE WHEN fence = ` + p.add(c.Fence) + ` AND claim_token = ` + p.add(c.Token) + ` AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM (` +
		p.add([]string(c.Checkpoint.ChunkLo)) + `::text[], ` + p.add([]string(c.Checkpoint.ChunkHi)) + `::text[], ` +
		p.add(int16(c.Checkpoint.K)) + `::smallint, ` + p.add(int16(c.Checkpoint.Pass)) + `::smallint, ` +
		p.add([]string(c.Checkpoint.Key)) + `::text[])
   AND relation = ` + regclass(Target{Schema: c.Schema, Name: c.Table}) + ` THEN ` + s.sameFile(p) + ` ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE)`
}

// regclass is the OID of the relation that the name means when the statement is parsed.
func regclass(t Target) string {
	return "'" + strings.ReplaceAll(t.Relation(), "'", "''") + "'::regclass"
}

// advance moves the checkpoint to s.To, renews the lease and adds to the row's counters, if the gate returned a row. A last step
// leaves the range done. Within a pass only the key moves, and the text says no more.
func (s Step) advance(p *params, counters, gate string) string {
	text := `backfleet_move AS (
 UPDATE backfleet.ranges SET key = ` + p.add([]string(s.To.Key)) + `::text[], `
	if from := s.Claim.Checkpoint; !from.ChunkLo.Equal(s.To.ChunkLo) || !from.ChunkHi.Equal(s.To.ChunkHi) || from.K != s.To.K || from.Pass != s.To.Pass {
		text += `chunk_lo = ` + p.add([]string(s.To.ChunkLo)) + `::text[], chunk_hi = ` + p.add([]string(s.To.ChunkHi)) + `::text[],
  k = ` + p.add(int16(s.To.K)) + `, pass = ` + p.add(int16(s.To.Pass)) + `, `
	}
	text += `batches = batches + 1,
  walked = walked + ` + p.add(s.Keys) + `, ` + counters + `, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'`
	if s.Last {
		text += `, state = 'done', ended_at = clock_timestamp()`
	}
	return text + `
  WHERE job_id = ` + p.add(string(s.Claim.Ref.Job)) + ` AND index = ` + p.add(s.Claim.Ref.Index) + ` AND EXISTS (SELECT 1 FROM ` + gate + `)
 RETURNING 1)`
}

// outcome is what every fenced statement returns: whether the brake is on, whether the fence held.
const outcome = `
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move)`

// counted counts what a repair wrote, once: the ledger and the answer both need it.
const counted = `backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
`

// Fill is one batch: it does the job's work on the rows of the span and moves the checkpoint, or does neither (backfleet.fill, in the
// ledger's migrations). It returns (held, moved, rows).
func (t Target) Fill(s Step) SQL {
	var values texts
	rows := t.todo(t.within(&values, s.Span) + t.taken(&values, s.Pass))
	return t.fill(s, rows, values)
}

// fill does the job's work on the rows that fulfil a condition over the bound values, but not on those in quarantine.
func (t Target) fill(s Step, rows string, values texts) SQL {
	if s.Exclude {
		rows += "\n  AND " + t.notQuarantined(&values, s.Claim.Ref.Job, s.Claim.Relation)
	}
	work := t.work(rows)
	if t.Blocks {
		work += t.unless()
	}
	from, to := s.Claim.Checkpoint, s.To
	args := []any{
		string(s.Claim.Ref.Job), s.Claim.Ref.Index, s.Claim.Fence, s.Claim.Token,
		[]string(from.ChunkLo), []string(from.ChunkHi), int16(from.K), int16(from.Pass), []string(from.Key),
		[]string(to.ChunkLo), []string(to.ChunkHi), int16(to.K), int16(to.Pass), []string(to.Key),
		s.Keys, s.Last, Target{Schema: s.Claim.Schema, Name: s.Claim.Table}.Relation(), work, []string(values),
	}
	if t.Blocks {
		return SQL{fillBlocksSQL, append(args, s.Claim.File)}
	}
	return SQL{fillSQL, args}
}

const fillSQL = "SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9," +
	" $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"

const fillBlocksSQL = "SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9," +
	" $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"

// Proof is one step of a verification: it counts, in one pass over the span, the rows that still match `where` and those whose
// `check` is not true, and moves the checkpoint. It returns (held, moved, residual, check failures).
func (t Target) Proof(s Step) SQL {
	var p params
	fence := s.fence(&p)
	residual, failing := t.counts()
	text := "WITH " + fence + ",\nbackfleet_proof AS MATERIALIZED (\n SELECT " + residual + " AS residual, " + failing +
		" AS check_fails\n  FROM " + t.from() + "\n  WHERE " + t.within(&p, s.Span) + " AND EXISTS (SELECT 1 FROM backfleet_lock)"
	if s.Exclude {
		text += "\n  AND " + t.notQuarantined(&p, s.Claim.Ref.Job, s.Claim.Relation)
	}
	text += "),\n" + s.advance(&p, "residual = residual + (SELECT residual FROM backfleet_proof),"+
		" check_fails = check_fails + (SELECT check_fails FROM backfleet_proof)", "backfleet_lock")
	return SQL{text + outcome + ", (SELECT residual FROM backfleet_proof), (SELECT check_fails FROM backfleet_proof)", p.args}
}

// open is the predicate of rows that a verification repairs: the residual and, where doing a row again is harmless, rows that
// fail their check. Empty: none.
func (t Target) open(withCheck bool) string {
	switch {
	case t.Where != "" && t.Check != "" && withCheck:
		return "(" + Paren(t.Where) + " OR " + Paren(t.Check) + " IS NOT TRUE)"
	case t.Where != "":
		return Paren(t.Where)
	case t.Check != "" && withCheck:
		return Paren(t.Check) + " IS NOT TRUE"
	}
	return "false"
}

// Repair updates the rows of the span that a proof found open, without moving the checkpoint, under the same fence. It returns
// (held, locked, rows).
func (t Target) Repair(s Step, withCheck bool) SQL {
	if t.Form != nil { // not every statement may stand in another: it is a batch that stays where it is
		var values texts
		rows := t.within(&values, s.Span) + " AND " + t.open(withCheck)
		s.To, s.Last, s.Keys = s.Claim.Checkpoint, false, 0
		return t.fill(s, rows, values)
	}
	var p params
	text := "WITH " + s.fence(&p) + ",\nbackfleet_update AS (\n UPDATE " + t.from() + " SET " + t.assignments() +
		"\n  WHERE " + t.within(&p, s.Span) + " AND EXISTS (SELECT 1 FROM backfleet_lock) AND " + t.open(withCheck)
	if s.Exclude {
		text += "\n  AND " + t.notQuarantined(&p, s.Claim.Ref.Job, s.Claim.Relation)
	}
	returning := "\n RETURNING 1"
	if t.Blocks {
		returning = t.unless()
	}
	text += returning + "),\n" + counted + "backfleet_move AS (\n UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count)" +
		",\n  lease_until = clock_timestamp() + interval '10 seconds'" +
		"\n  WHERE job_id = " + p.add(string(s.Claim.Ref.Job)) + " AND index = " + p.add(s.Claim.Ref.Index) +
		" AND EXISTS (SELECT 1 FROM backfleet_lock)\n RETURNING 1)"
	return SQL{text + outcome + ", (SELECT rows FROM backfleet_count)", p.args}
}

// Failing finds one key of the span that is still open or fails its check.
func (t Target) Failing(s Step) SQL {
	var p params
	text := "SELECT " + t.keyText() + " FROM " + t.from() + " WHERE " + t.within(&p, s.Span) + " AND " + t.open(true)
	if s.Exclude {
		text += " AND " + t.notQuarantined(&p, s.Claim.Ref.Job, s.Claim.Relation)
	}
	return SQL{text + " ORDER BY " + t.order("") + " LIMIT 1", p.args}
}

// QuarantineTurn lets one transaction of a job at a time set rows aside, from here to its end: run it before [Target.Quarantine], so that
// the statement's snapshot sees every row that others have set aside. Batches do not wait for it.
func QuarantineTurn(id job.ID) SQL {
	return SQL{"SELECT 1 FROM backfleet.jobs WHERE id = $1 FOR NO KEY UPDATE", []any{string(id)}}
}

// Quarantine sets the one row aside that the span holds, and moves the checkpoint past it, in one fenced statement that does neither
// where the span meanwhile holds another row, or where most other rows of the job are in quarantine already. It returns (held, moved,
// other rows of the job in quarantine, whether the fence held, whether the row stands alone). Move false leaves the checkpoint: a
// repair found the row. The limit is exact in a transaction that has its [QuarantineTurn].
func (t Target) Quarantine(s Step, key ranges.Key, most int, sqlstate, message string, move bool) SQL {
	var p params
	text := "WITH " + s.fence(&p) + ",\nbackfleet_alone AS MATERIALIZED (\n SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (\n  SELECT 1 FROM " + t.from() +
		" WHERE " + t.within(&p, s.Span) + t.taken(&p, s.Pass) + " AND " + t.keyRow() + " <> " + t.key(&p, key) + ")),\n" +
		"backfleet_others AS MATERIALIZED (\n SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = " + p.add(string(s.Claim.Ref.Job)) +
		" AND (relation, key) <> (" + p.add(s.Claim.Relation) + "::oid, " + p.add([]string(key)) + "::text[])),\n" +
		"backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < " + p.add(most) + "),\n" +
		"backfleet_put AS (\n INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)\n SELECT " +
		p.add(string(s.Claim.Ref.Job)) + ", " + p.add(s.Claim.Relation) + "::oid, " + p.add([]string(key)) + "::text[], " +
		p.add(s.Claim.Ref.Index) + "::int, " + p.add(sqlstate) + ", " + p.add(message) + ", " + p.add(s.Claim.Owner) +
		"\n FROM backfleet_room\n ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error," +
		" attempts = q.attempts + 1, at = clock_timestamp()),\n"
	if move {
		text += s.advance(&p, "rows = rows", "backfleet_room")
	} else {
		text += "backfleet_move AS (SELECT 1 FROM backfleet_room)"
	}
	return SQL{text + outcome + ", (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock)," +
		" (SELECT count(*) FROM backfleet_alone)", p.args}
}

// Again does one quarantined row again, takes it out of quarantine and counts it with its range, in one transaction of three parts that
// stand or fall together.
type Again struct {
	// Take takes the row out of quarantine and returns its range's index; no row where somebody else did: then nothing is to be done.
	Take SQL
	Work SQL // does the row: the server's count is that of the rows written
	// Count adds the rows to the range, if there is one.
	Count func(index int, rows int64) SQL
}

// Again returns the parts for a row.
func (t Target) Again(id job.ID, relation uint32, key ranges.Key) Again {
	var take, work params
	t.Blocks = false // the row is named by its key
	return Again{
		Take: SQL{"DELETE FROM backfleet.quarantine WHERE job_id = " + take.add(string(id)) + " AND relation = " + take.add(relation) +
			" AND key = " + take.add([]string(key)) + "::text[] RETURNING range_index", take.args},
		Work: SQL{t.work(t.todo(t.within(&work, ranges.Span{Lo: key, Hi: key, HiClosed: true}))), work.args},
		Count: func(index int, rows int64) SQL {
			return SQL{"UPDATE backfleet.ranges SET rows = rows + $3 WHERE job_id = $1 AND index = $2", []any{string(id), index, rows}}
		},
	}
}

// Ahead looks for the row of a key, in whatever form the key is written, and whether its batch is still to come: no checkpoint of the
// job has passed it, which in a strided chunk is a matter of its pass. It returns (the key as the ledger writes it, ahead); no row where
// there is none. In block order any row may be ahead, at a place that it is yet to come to.
func (t Target) Ahead(id job.ID, relation uint32, key ranges.Key) SQL {
	var p params
	row := t.keyRow()
	if t.Blocks {
		return SQL{"SELECT " + t.keyText() + ", true FROM " + t.from() + " WHERE " + row + " = " + t.key(&p, key), p.args}
	}
	turn := t.hash() + " & (backfleet_r.k - 1)"
	return SQL{"SELECT " + t.keyText() + ", EXISTS (SELECT 1 FROM backfleet.ranges AS backfleet_r\n  WHERE backfleet_r.job_id = " + p.add(string(id)) +
		" AND backfleet_r.relation = " + p.add(relation) + "\n   AND backfleet_r.kind = 'fill' AND backfleet_r.state NOT IN ('done', 'dropped')" +
		"\n   AND (" + row + " < " + t.stored("hi") + " OR backfleet_r.hi_inclusive AND " + row + " = " + t.stored("hi") + ")" +
		"\n   AND CASE WHEN backfleet_r.k = 1 THEN backfleet_r.key IS NULL OR " + row + " >= " + t.stored("key") +
		"\n     WHEN " + row + " > " + t.stored("chunk_hi") + " OR " + row + " = " + t.stored("chunk_hi") +
		" AND NOT (backfleet_r.hi_inclusive AND backfleet_r.chunk_hi = backfleet_r.hi) THEN true" +
		"\n     ELSE (backfleet_r.chunk_lo IS NULL OR " + row + " >= " + t.stored("chunk_lo") + ") AND (" + turn + " > backfleet_r.pass OR " +
		turn + " = backfleet_r.pass AND (backfleet_r.key IS NULL OR " + row + " >= " + t.stored("key") + ")) END)" +
		"\n FROM " + t.from() + " WHERE " + row + " = " + t.key(&p, key), p.args}
}

// stored is a key of the ledger's row backfleet_r, as a row value of the key's types.
func (t Target) stored(column string) string {
	parts := make([]string, len(t.Key))
	for i, c := range t.Key {
		parts[i] = fmt.Sprintf("CAST(backfleet_r.%s[%d] AS %s)", column, i+1, c.Type)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
