package ranges

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBlocksAreTiled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks, each := rapid.Int64Range(0, 10_000).Draw(t, "blocks"), rapid.Int64Range(1, 3_000).Draw(t, "each")
		spans := CutBlocks(blocks, each)
		if blocks == 0 {
			require.Empty(t, spans)
			return
		}
		require.Empty(t, Gaps(spans, Block(blocks)))
		var sum int64
		for _, s := range spans {
			lo, err := BlockOf(s.Lo)
			require.NoError(t, err)
			hi, err := BlockOf(s.Hi)
			require.NoError(t, err)
			require.LessOrEqual(t, hi-lo, each)
			require.Positive(t, hi-lo)
			sum += hi - lo
		}
		require.Equal(t, blocks, sum)
	})
}

func TestWhatIsNoBlock(t *testing.T) {
	for _, k := range []Key{{"7"}, {"(7,1)"}, {"(7)"}, {"(-1,0)"}, {"(1,0)", "x"}, {"abc"}} {
		_, err := BlockOf(k)
		require.Error(t, err, k)
	}
}
