package ranges

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func at(n int) Key { return Key{strconv.Itoa(n)} }

// place is a key in the model's order: unbounded is below all.
func place(k Key) int {
	if k.Unbounded() {
		return -1
	}
	n, err := strconv.Atoi(k[0])
	if err != nil {
		panic(err)
	}
	return n
}

// takes is the model of a batch's predicate: hash & (K-1) = N over a span.
func takes(s Span, p Pass, key int) bool {
	below := key < place(s.Hi) || s.HiClosed && key == place(s.Hi)
	hash := key * 2654435761 >> 7 // any function of the key
	return key >= place(s.Lo) && below && (p.Whole() || hash&(p.K-1) == p.N)
}

// Invariant 1: whatever chunks are opened on the way, in whatever number of passes, wherever batches end, and however often the walk is
// taken up anew from what is committed, every key of the range is in exactly one committed batch, and the checkpoint only advances.
func TestEveryKeyIsInExactlyOneBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 60
		lo, hi := rapid.IntRange(0, 20).Draw(t, "lo"), rapid.IntRange(30, keys).Draw(t, "hi")
		whole := Span{Lo: at(lo), Hi: at(hi), HiClosed: rapid.Bool().Draw(t, "closed")}
		if rapid.Bool().Draw(t, "open below") {
			whole.Lo = nil
		}
		seen := map[int]int{}
		committed := Start(whole) // what the ledger holds
		for done := false; !done; {
			now := committed
			if !now.Strided() && rapid.Bool().Draw(t, "opens a chunk") {
				end := rapid.IntRange(max(place(now.Key), 0)+1, hi+5).Draw(t, "chunk ends")
				to := at(end)
				if end >= hi {
					to = whole.Hi
				}
				now = now.Open(to, 1<<rapid.IntRange(1, 3).Draw(t, "log2 K"))
			}
			if now.Strided() {
				require.Equal(t, now, now.Open(at(7), 2), "the order changes only between chunks")
			}
			batch := now.Left(whole)
			var next Checkpoint
			if to := rapid.IntRange(max(place(now.Key), 0)+1, keys).Draw(t, "batch ends"); to < place(batch.Hi) {
				batch.Hi, batch.HiClosed, next = at(to), false, now.Advance(at(to))
			} else {
				next, done = now.EndPass(whole)
			}
			if rapid.IntRange(0, 3).Draw(t, "fate") == 0 {
				done = false
				continue // rolled back, or the worker died: another begins at what is committed
			}
			for key := range keys + 10 {
				if takes(batch, now.Turn(), key) {
					seen[key]++
				}
			}
			require.True(t, later(committed, next), "%+v after %+v", next, committed)
			committed = next
		}
		require.Equal(t, plain(whole, whole.Hi), committed)
		for key := range keys + 10 {
			require.Equal(t, boolToInt(takes(whole, Pass{}, key)), seen[key], "key %d", key)
		}
	})
}

// later is the order in which checkpoints advance.
func later(a, b Checkpoint) bool {
	for _, pair := range [][2]int{{place(a.ChunkLo), place(b.ChunkLo)}, {a.Pass, b.Pass}, {place(a.Key), place(b.Key)}} {
		if pair[0] != pair[1] {
			return pair[0] < pair[1]
		}
	}
	return false
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// The checkpoint that the planner writes is that of a range in plain order.
func TestAPlainWalkIsOnePass(t *testing.T) {
	s := Span{Lo: at(1), Hi: at(9), HiClosed: true}
	c := Start(s)
	require.True(t, c.Turn().Whole())
	require.Equal(t, s, c.Left(s))
	next, done := c.Advance(at(5)).EndPass(s)
	require.True(t, done)
	require.Equal(t, at(9), next.Key)
}
