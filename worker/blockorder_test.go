package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// byBlock is a job in block order that is not idempotent.
func byBlock(passes string) job.Spec {
	spec := job.Spec{Set: map[string]string{"n": "n + 1"}, Where: "n % 1000 = 0", Order: job.OrderBlock}
	spec.Batch.Passes = passes
	return spec
}

// Whatever the density that is believed, the batch sizes and the pass, batches end between blocks, or within the block where they begin, and
// their ends advance to the pass's own.
func TestBatchesOfBlocksAdvance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.Int64Range(1, 500).Draw(t, "blocks")
		k := rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "passes")
		density := rapid.Float64Range(1, 200).Draw(t, "density")
		span := ranges.BlockSpan(0, blocks)
		span.HiClosed = true
		c := &carrier{density: density}
		c.claim.Span = span
		c.at = ranges.Start(span).Open(span.Hi, k)
		for steps := 0; ; steps++ {
			require.LessOrEqual(t, int64(steps), blocks, "it does not come to its end")
			least := int(density/float64(k)) + 1
			keys := rapid.IntRange(least, 100*least).Draw(t, "keys") // of a block or more, so that nothing is looked for
			b, err := c.blockBound(t.Context(), keys)
			require.NoError(t, err)
			require.True(t, b.known)
			require.Positive(t, b.keys)
			require.LessOrEqual(t, b.keys, keys, "a batch holds no more than it should, on average")
			if b.end == nil {
				return
			}
			at, end, err := addresses(ranges.Span{Lo: c.at.Key, Hi: b.end})
			require.NoError(t, err)
			require.True(t, at.Before(end))
			require.True(t, end.Before(ranges.Address{Block: blocks}))
			c.at = c.at.Advance(b.end)
		}
	})
}

// Less than a block is looked for row by row: as a slow rate asks for, and the isolation of a row.
func TestBatchesOfLessThanABlock(t *testing.T) {
	for _, passes := range []string{"1", "2"} {
		spec := byBlock(passes)
		spec.Batch.MaxRows = 7
		w := walkingOver(t, spec, 1000)
		require.NoError(t, w.c.carry(t.Context(), t.Context()))
		require.Equal(t, 1000, w.one("select count(*) from t where n = 1"))
		require.Greater(t, w.one("select batches from backfleet.ranges"), 1000/7-1)
		require.Equal(t, 1000, w.one("select rows from backfleet.ranges where state = 'done'"))
	}
}

// A chunk is so many blocks; it stays as it is for whoever takes the walk up, and rows of it that were written elsewhere are not met again.
func TestAChunkOfBlocksIsKept(t *testing.T) {
	const rows = chunkMost + chunkKeys - 2000
	w := walkingOver(t, byBlock("auto"), rows)
	require.NoError(t, w.c.prepare(t.Context()))
	w.step()
	first := w.standing()
	require.Equal(t, 4, first.K)
	require.Equal(t, ranges.BlockKey(ranges.BlocksFor(chunkKeys, w.c.density)), first.ChunkHi)
	require.NoError(t, w.c.claimAnew(t.Context()))
	require.Equal(t, first, w.c.at)
	chunks := map[string]bool{}
	for !w.step() {
		if w.c.at.Strided() {
			chunks[w.c.at.ChunkHi.String()] = true
		}
	}
	require.Equal(t, map[string]bool{first.ChunkHi.String(): true, w.c.claim.Span.Hi.String(): true}, chunks, "the last chunk takes up what would be too short")
	require.Equal(t, rows, w.one("select count(*) from t where n = 1"))
	require.Equal(t, rows, w.one("select rows from backfleet.ranges where state = 'done' and key = hi"))
}

// A rewrite may come while a batch waits for the table's lock: its addresses are then of rows of another file, and it must write none of them.
func TestARewriteBeforeABatchHasItsLock(t *testing.T) {
	w := walkingOver(t, byBlock("1"), 1000)
	require.NoError(t, w.c.prepare(t.Context()))
	tx, err := w.c.desk.db.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), "truncate leaf")
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "insert into leaf select i, 0 from generate_series(1, 500) i")
	require.NoError(t, err)
	w.c.lockWait = 0
	require.NoError(t, w.c.connect(t.Context()))
	w.c.lockWait = 0 // no limit: the batch is to wait
	carried := make(chan error, 1)
	go func() {
		_, err := w.c.step(t.Context(), t.Context())
		carried <- err
	}()
	w.soon("the batch waits for the table", "select count(*) from pg_locks where not granted and relation = 'leaf'::regclass")
	require.NoError(t, tx.Commit(t.Context()))
	require.ErrorContains(t, <-carried, "BF002")
	require.Zero(t, w.one("select count(*) from t where n > 0"))
	require.Zero(t, w.one("select rows from backfleet.ranges"))

	require.ErrorIs(t, w.c.carry(t.Context(), t.Context()), job.ErrRewritten)
	_, err = w.ledger.Claim(t.Context(), w.c.claim.Ref, "w1", "reply", &w.c.claim)
	require.ErrorIs(t, err, job.ErrRewritten, "and nobody claims it any more")
}

// A proof over the addresses of another file would prove nothing.
func TestARewriteBeforeAProof(t *testing.T) {
	w := walkingOver(t, byBlock("1"), 1000)
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	w.verify()
	require.Equal(t, w.c.claim.File, uint32(w.one("select pg_relation_filenode('leaf')::bigint")))
	require.NoError(t, w.c.prepare(t.Context()))
	w.exec("update t set n = 0 where id > 500")
	w.exec("vacuum full leaf")
	require.ErrorIs(t, w.c.carry(t.Context(), t.Context()), job.ErrRewritten)
	require.Zero(t, w.one("select count(*) from backfleet.ranges where kind = 'verify' and state = 'done'"))
}

// A row that the application changes between a batch's read and its write is done once, on its newest version, wherever that one is.
func TestARaceInBlockOrder(t *testing.T) {
	for _, app := range []string{"update t set n = n + 1000 where id = 50", "delete from t where id = 50"} {
		spec := byBlock("1")
		spec.Set = map[string]string{"n": "held(id, n) + 1"}
		spec.Batch.Target = job.Duration(20_000_000_000 / 20)
		w := walking(t, spec)
		w.exec(held)
		w.race("read committed", app)
		require.Zero(t, w.one("select count(*) from t where n % 1000 <> 1 and id <> 50"))
		require.Zero(t, w.one("select count(*) from t where id = 50 and n not in (1001)"))
	}
}

// Invariant 8 in block order: poison rows are set aside however few rows a block holds, or is believed to hold, and however many of them lie in one.
func TestPoisonRowsAmongFewInABlock(t *testing.T) {
	wide := []string{"alter table t add column pad text not null default repeat('x', 2500)", "alter table leaf alter column pad set storage plain"}
	for name, c := range map[string]struct {
		setup  []string
		belied bool // the statistics tell of one row a block
	}{"wide rows": {setup: wide}, "old statistics": {belied: true}} {
		for _, passes := range []string{"1", "4"} {
			t.Run(name+", passes "+passes, func(t *testing.T) {
				spec := byBlock(passes)
				spec.Set["n"] = "n + 1 / (CASE WHEN id % 20 = 0 OR id BETWEEN 101 AND 112 THEN 0 ELSE 1 END)"
				w := walkingOver(t, spec, 600, c.setup...)
				if c.belied {
					w.exec("update pg_class set reltuples = relpages where relname = 'leaf'")
				}
				stop, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("it does not come to its end"))
				defer cancel()
				require.NoError(t, w.c.carry(t.Context(), stop))
				const poison = "(id % 20 = 0 or id between 101 and 112)"
				require.Equal(t, 600-42, w.one("select count(*) from t where n = 1 and not "+poison))
				require.Equal(t, 42, w.one("select count(*) from t join backfleet.quarantine q on q.key[1]::int = t.id where n = 0 and "+poison))
				require.Equal(t, 42, w.one("select count(*) from backfleet.quarantine"))
				require.Equal(t, 600-42, w.one("select rows from backfleet.ranges where state = 'done' and key = hi"))
			})
		}
	}
}

// A row that a repair leaves open would be repaired again wherever it comes to. The repair notices, as a batch does, and nothing of it is kept.
func TestARepairThatLeavesARowOpenStopsTheJob(t *testing.T) {
	w := walkingOver(t, byBlock("1"), 1000)
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	w.exec("update t set n = 1000 where id = 432")
	w.exec("create function undo() returns trigger language plpgsql as $$begin if new.id = 432 then new.n := old.n + 1000; end if; return new; end$$")
	w.exec("create trigger undo before update on leaf for each row execute function undo()")
	w.verify()
	require.ErrorIs(t, w.c.carry(t.Context(), t.Context()), errStopped)
	require.Equal(t, 1, w.one("select count(*) from backfleet.jobs where state = 'failed' and reason like '%row 432 still matches `where` after `set`%'"))
	require.Equal(t, 1000, w.one("select n from t where id = 432"))
}
