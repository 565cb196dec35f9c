package signals

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWindowCountsAMinute(t *testing.T) {
	var w window
	require.Zero(t, w.since(at(0), 7))
	require.InDelta(t, 2, w.since(at(5), 9), 0)
	require.InDelta(t, 2, w.since(at(59), 9), 0)
	require.InDelta(t, 2, w.since(at(60), 9), 0)
	require.InDelta(t, 1, w.since(at(65), 10), 0, "the rise of the first five seconds is over a minute ago")
	require.Zero(t, w.since(at(70), 3), "a counter that was reset")
	require.InDelta(t, 4, w.since(at(71), 7), 0)
	for i := range 1000 {
		w.since(at(100+float64(i)), 7)
	}
	require.LessOrEqual(t, len(w.points), 62)
}

func TestRates(t *testing.T) {
	var r rates
	_, ok := r.next(at(0), 100, 10)
	require.False(t, ok)
	per, ok := r.next(at(5), 200, 10)
	require.True(t, ok)
	require.Equal(t, [2]float64{20, 0}, per)
	_, ok = r.next(at(10), 0, 20)
	require.False(t, ok, "a counter that was reset")
	per, ok = r.next(at(12), 4, 21)
	require.True(t, ok)
	require.Equal(t, [2]float64{2, 0.5}, per)
	_, ok = r.next(at(12), 4, 21)
	require.False(t, ok, "no time has passed")
}

func TestSegmentNumbers(t *testing.T) {
	const size = 16 << 20
	for name, want := range map[string]int64{
		"000000010000000000000005":                 5,
		"0000000A00000002000000FF":                 2*256 + 255,
		"000000010000000000000005.00000028.backup": 5,
	} {
		n, ok := segmentNumber(name, size)
		require.True(t, ok, name)
		require.Equal(t, want, n, name)
	}
	for _, name := range []string{"", "00000002.history", "00000001000000000000000X"} {
		_, ok := segmentNumber(name, size)
		require.False(t, ok, name)
	}
	row := databaseRow{Archives: true, WAL: 9*size + 1, Segment: size, Archived: "000000010000000000000005"}
	queue, _, ok := row.archiveQueue()
	require.True(t, ok)
	require.InDelta(t, 3, queue, 0, "6, 7 and 8 are full")
	row.Archived, row.Failed = "", "000000010000000000000005"
	queue, _, _ = row.archiveQueue()
	require.InDelta(t, 4, queue, 0, "5 waits as well")
	row.Failed = ""
	queue, _, ok = row.archiveQueue()
	require.True(t, ok)
	require.Zero(t, queue)
	_, _, ok = databaseRow{}.archiveQueue()
	require.False(t, ok)
}

func TestTheStatementIsOfTheServersVersion(t *testing.T) {
	for version, want := range map[int][2]string{
		140000: {"checkpoints_req", "blks_read"}, 150018: {"checkpoints_req", "blks_read"},
		160000: {"checkpoints_req", "pg_stat_io) i, pg_stat_wal"}, 170010: {"num_requested", "pg_stat_io) i, pg_stat_wal"},
		180004: {"num_requested", "pg_stat_io has WAL"}, 190000: {"num_requested", "pg_stat_io has WAL"},
	} {
		sql := databaseStatement(version)
		for _, part := range want {
			require.Equal(t, 1, strings.Count(sql, part), "%d: %s", version, part)
		}
	}
}

func TestCores(t *testing.T) {
	n, known := coresOf(16, true)
	require.Equal(t, 16, n)
	require.Equal(t, "16 cores", known)
	n, known = coresOf(0, false)
	require.Equal(t, 32, n)
	require.Equal(t, "32 cores, an assumption", known)
}
