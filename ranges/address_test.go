package ranges

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRowAddressesAreOrdered(t *testing.T) {
	for _, v := range []struct {
		a, b   Key
		before bool
	}{
		{nil, nil, false}, {nil, Key{"(0,1)"}, true}, {Key{"(0,1)"}, nil, false}, {Key{"(2,9)"}, Key{"(10,1)"}, true},
		{Key{"(10,1)"}, Key{"(2,9)"}, false}, {Key{"(3,2)"}, Key{"(3,10)"}, true}, {Key{"(3,2)"}, Key{"(3,2)"}, false},
		{Key{"(4294967294,0)"}, Key{"(4294967295,0)"}, true},
	} {
		a, b, err := Ends(Span{Lo: v.a, Hi: v.b}, AddressOf)
		require.NoError(t, err)
		require.Equal(t, v.before, a.Before(b), "%s before %s", v.a, v.b)
		require.Equal(t, v.a, a.Key())
		require.Equal(t, v.b, b.Key())
	}
	require.Nil(t, BlockKey(0), "the first block has no bound below")
	require.Equal(t, Key{"(12,0)"}, Address{7, 33}.On(5).Key())
	require.Equal(t, Span{Hi: Key{"(3,0)"}}, BlockSpan(0, 3))
}

func TestWhatIsNoRowAddress(t *testing.T) {
	for _, k := range []Key{
		{}, {"7"}, {"(7)"}, {"7,1"}, {"(7,1"}, {"7,1)"}, {"((7,1))"}, {"(-1,0)"}, {"(+1,0)"}, {"(1,-1)"}, {"(1,0,0)"}, {"( 1,0)"}, {"(a,0)"}, {"abc"},
		{"(1,0)", "x"}, {"(4294967296,0)"}, {"(1,65536)"},
	} {
		_, err := AddressOf(k)
		require.ErrorContains(t, err, "is no row address", k)
		_, err = BlockOf(k)
		require.Error(t, err, k)
		_, err = BlockStepper{1}.Step(t.Context(), 1, k, BlockKey(9), 1, 1)
		require.Error(t, err, k)
		_, err = BlockStepper{1}.Step(t.Context(), 1, nil, k, 1, 1)
		require.Error(t, err, k)
	}
	_, err := BlockOf(Key{"(7,1)"})
	require.ErrorContains(t, err, "within a block")
}
