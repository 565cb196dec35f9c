package allocs

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var accept = flag.Bool("accept", false, "write baseline.txt as the hot paths now are")

// hotPaths are the packages whose benchmarks count: what runs for each batch, each range or each sample.
var hotPaths = []string{"./ranges", "./throttle", "./internal/statement", "./internal/queue", "./worker"}

const (
	ops  = 100 // of each benchmark; enough that what is made once is none of an op's
	file = "baseline.txt"
	head = "# Allocations of an op. Written by: go test ./test/allocs -accept\n"
)

func TestHotPathsAllocateNoMoreThanTheyDid(t *testing.T) {
	is, err := Measure(t.Context(), "../..", ops, hotPaths...)
	require.NoError(t, err)
	if *accept {
		require.NoError(t, os.WriteFile(file, []byte(head+is.String()), 0o644))
		return
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	was, err := Read(string(text))
	require.NoError(t, err)
	if fewer := Fewer(was, is); len(fewer) > 0 {
		t.Logf("less than the baseline; `go test ./test/allocs -accept` holds it there:\n%s", strings.Join(fewer, "\n"))
	}
	if grown := Grown(was, is); len(grown) > 0 {
		t.Fatalf("hot paths allocate more:\n%s\nFind it with: go test -run '^$' -bench NAME -memprofile mem.out ./PACKAGE; "+
			"where it is meant, accept it with: go test ./test/allocs -accept", strings.Join(grown, "\n"))
	}
}

// The test above can fail: a real benchmark that allocates three times is told from a baseline of two, by the same run and comparison.
func TestABenchmarkThatGrewIsNamed(t *testing.T) {
	is, err := Measure(t.Context(), ".", ops, "./testdata/grown")
	require.NoError(t, err)
	const name = "test/allocs/testdata/grown.Three"
	require.Equal(t, Counts{name: 3}, is)
	require.Equal(t, []string{name + ": 3 allocations an op, was 2"}, Grown(Counts{name: 2}, is))
	require.Empty(t, Grown(Counts{name: 3}, is))
	require.Empty(t, Grown(Counts{name: 4}, is))
	require.Equal(t, []string{name + ": 3 allocations an op, was 4"}, Fewer(Counts{name: 4}, is))
}

func TestABenchmarkOnOneSideOnlyIsNamed(t *testing.T) {
	require.Equal(t, []string{"b: 1 allocations an op, and no baseline", "a: no such benchmark any more, was 0"}, Grown(Counts{"a": 0}, Counts{"b": 1}))
}

func TestABaselineIsReadAsItWasWritten(t *testing.T) {
	c := Counts{"ranges.Tiling": 12, "throttle.Allocate/slots=16": 0}
	read, err := Read(head + c.String())
	require.NoError(t, err)
	require.Equal(t, c, read)
	_, err = Read("ranges.Tiling twelve\n")
	require.EqualError(t, err, `read a baseline: "ranges.Tiling twelve" is not a name and a count`)
}

func TestARunWithoutBenchmarksIsAnError(t *testing.T) {
	_, err := parse("ok  \tgithub.com/backfleet/backfleet/ranges\t0.1s\n")
	require.EqualError(t, err, "no benchmark ran")
}
