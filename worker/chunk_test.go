package worker

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/throttle"
)

func at(n int) ranges.Key { return ranges.Key{strconv.Itoa(n)} }

// standing is the tuple that the ledger holds of the only range.
func (w *walk) standing() ranges.Checkpoint {
	w.Helper()
	var c ranges.Checkpoint
	require.NoError(w, w.c.desk.db.Pool.QueryRow(w.Context(), "select chunk_lo, chunk_hi, k, pass, key from backfleet.ranges").
		Scan((*[]string)(&c.ChunkLo), (*[]string)(&c.ChunkHi), &c.K, &c.Pass, (*[]string)(&c.Key)))
	return c
}

// A long range is cut into chunks; the last takes up what would be too short by itself. A chunk that is open stays as it is when
// `set` changes the order, and when the walk is taken up by one that does not know its marks.
func TestALongRangeIsCutIntoChunks(t *testing.T) {
	w := walkingOver(t, job.Spec{Set: map[string]string{"n": "n + 1"}}, chunkKeys+chunkMost)
	require.NoError(t, w.c.prepare(t.Context()))
	w.step()
	first := w.standing()
	require.Equal(t, ranges.Checkpoint{ChunkHi: at(chunkKeys + 1), K: 4, Key: first.Key}, first)
	require.Len(t, w.c.marks.keys, chunkKeys/markKeys-1)
	require.NotEmpty(t, first.Key)

	w.c.limits.Batch.Passes = "2"
	require.NoError(t, w.c.claimAnew(t.Context()))
	require.False(t, w.c.marks.known)
	w.step()
	second := w.standing()
	require.Equal(t, 4, second.K)
	require.Equal(t, first.ChunkHi, second.ChunkHi)
	require.True(t, w.c.marks.whole)
	for w.standing().ChunkHi.Equal(first.ChunkHi) {
		w.step()
	}
	require.Equal(t, chunkKeys, w.one("select count(*) from t where n = 1"))
	require.Equal(t, ranges.Checkpoint{ChunkLo: at(chunkKeys + 1), ChunkHi: at(chunkKeys + chunkMost), K: 1, Key: at(chunkKeys + 1)}, w.standing())

	for !w.step() {
		require.Equal(t, 2, w.c.at.K)
	}
	require.Equal(t, chunkKeys+chunkMost, w.one("select count(*) from t where n = 1"))
	require.Equal(t, 1, w.one("select count(*) from backfleet.ranges where state = 'done' and key = hi and rows = $1", chunkKeys+chunkMost))
}

// What is short is walked plainly by `auto`, and in passes where a person says so.
func TestAShortRangeIsWalkedPlainlyByAuto(t *testing.T) {
	for passes, k := range map[string]int{"auto": 1, "8": 8, "1": 1} {
		spec := job.Spec{Set: map[string]string{"n": "n + 1"}}
		spec.Batch.Passes = passes
		w := walking(t, spec)
		require.NoError(t, w.c.prepare(t.Context()))
		w.step()
		require.Equal(t, k, w.standing().K, passes)
	}
}

// Where the keys of a chunk cannot be read within a statement's time, the range is walked all the same: one that was begun in passes to
// its end in passes, another plainly.
func TestAChunkThatTakesTooLongToReadIsWalkedWithoutMarks(t *testing.T) {
	spec := job.Spec{Set: map[string]string{"n": "n + 1"}}
	spec.Batch.Passes = "4"
	for _, begun := range []bool{false, true} {
		w := walkingOver(t, spec, 20_000)
		require.NoError(t, w.c.prepare(t.Context()))
		k := 1
		if begun {
			k = 4
			w.step()
			require.NoError(t, w.c.claimAnew(t.Context()))
		}
		locked, err := w.c.desk.db.Pool.Begin(t.Context()) // what is waited for too long is not told from what takes too long
		require.NoError(t, err)
		_, err = locked.Exec(t.Context(), "lock table leaf")
		require.NoError(t, err)
		require.NoError(t, w.c.enter(t.Context()))
		require.NoError(t, locked.Rollback(t.Context()))
		require.Equal(t, k, w.c.at.K)
		require.False(t, w.c.marks.whole)
		for finished := false; !finished; {
			finished, err = w.c.step(t.Context(), t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 20_000, w.one("select count(*) from t where n = 1"))
	}
}

// The updates' heat is counted by the server. Where a snapshot keeps the space of old versions few are HOT, and `auto` is plain order
// for a while.
func TestColdUpdatesMakeTheOrderPlain(t *testing.T) {
	for _, held := range []bool{false, true} {
		w := walkingOver(t, job.Spec{Set: map[string]string{"n": "n + 1"}}, 20_000)
		if held {
			tx, err := w.c.desk.db.Pool.Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			_, err = tx.Exec(t.Context(), "set transaction isolation level repeatable read")
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "select count(*) from t")
			require.NoError(t, err)
		}
		require.NoError(t, w.c.carry(t.Context(), t.Context()))
		require.Equal(t, 20_000, w.one("select count(*) from t where n = 1"))
		now := w.c.slot.w.cfg.Now()
		w.c.short = false
		if !held {
			require.Zero(t, w.c.slot.order)
			require.Equal(t, 4, w.c.passes())
			continue
		}
		require.Equal(t, order{w.job.ID, now.Add(hotAgain)}, w.c.slot.order)
		require.Equal(t, 1, w.c.passes())
		w.c.limits.Batch.Passes = "4"
		require.Equal(t, 4, w.c.passes(), "what a person asks for stands")
		w.c.limits.Batch.Passes = "auto"
		w.c.slot.w.cfg.Now = func() time.Time { return now.Add(hotAgain) }
		require.Equal(t, 4, w.c.passes(), "it is tried again")
	}
}

// A mark ends a batch only where it holds no more keys of the pass than were asked for; elsewhere a search does.
func TestMarksEndBatches(t *testing.T) {
	c := &carrier{sizer: throttle.NewSizer(throttle.SizerConfig{})}
	c.at = ranges.Checkpoint{ChunkHi: at(900), K: 4}
	c.marks = marks{known: true, whole: true, keys: []ranges.Key{at(250), at(500), at(750)}}
	for _, v := range []struct {
		from, keys, end, holds int // end 0: that of the pass; holds 0: the marks do not tell
	}{
		{0, 62, 0, 0}, {0, 63, 250, 62}, {0, 130, 500, 125}, {0, 200, 750, 187}, {0, 250, 0, 250},
		{250, 63, 500, 62}, {750, 63, 0, 62}, {750, 1000, 0, 1000}, {333, 1000, 0, 0},
	} {
		c.at.Key = nil
		if v.from > 0 {
			c.at.Key = at(v.from)
		}
		b, ok := c.marked(v.keys)
		require.Equal(t, v.holds > 0, ok, "%+v", v)
		require.Equal(t, v.holds, b.keys, "%+v", v)
		if v.end == 0 {
			require.Nil(t, b.end, "%+v", v)
		} else {
			require.Equal(t, at(v.end), b.end, "%+v", v)
		}
	}
	c.at.Key = nil
	c.poison.active = true
	_, ok := c.marked(1000)
	require.False(t, ok, "an isolation walks key by key")
	c.poison.active, c.marks.whole = false, false
	_, ok = c.marked(1000)
	require.False(t, ok, "a chunk without marks")
}
