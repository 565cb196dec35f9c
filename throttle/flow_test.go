package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The two unknowns are told apart as soon as the fleet's rate changes.
func TestFlowTellsTheFleetFromTheApplication(t *testing.T) {
	const app, perRow, step = 3e6, 1200.0, 100 * time.Millisecond
	at := newFakeClock().t
	f := newFlow()
	var wal, done trail
	for i := range 600 {
		rows := 2000.0
		if i/50%2 == 1 {
			rows = 8000
		}
		at = at.Add(step)
		wal.add(at, wal.value()+(app+rows*perRow)*step.Seconds(), trailSpan)
		done.add(at, done.value()+rows*step.Seconds(), trailSpan)
		f.note(Sample{At: at, Rows: done.at(at.Add(-flowAge))})
		if i%5 == 0 {
			f.step(&wal, 0, 0.5)
		}
	}
	require.InEpsilon(t, perRow, f.perRow, 0.1)
	require.InEpsilon(t, app, f.app, 0.2)
	require.GreaterOrEqual(t, f.careful(), f.perRow)
	f.step(&wal, 900, 0.5)
	require.InDelta(t, 900, f.perRow, 1e-9, "a measured row is believed")
}

// A fleet that doubles its rate every half second is ahead of the count of its rows. With a forecast a row is not taken for several.
func TestAForecastKeepsARampFromMakingRowsDear(t *testing.T) {
	const perRow, step = 520.0, 50 * time.Millisecond
	at := newFakeClock().t
	f := newFlow()
	var wal, done trail
	rows := 500.0
	for i := range 120 {
		if i >= 20 && i%10 == 0 {
			rows = min(2*rows, 250_000)
		}
		at = at.Add(step)
		wal.add(at, wal.value()+rows*perRow*step.Seconds(), trailSpan)
		done.add(at, done.value()+rows*step.Seconds(), trailSpan)
		f.note(Sample{At: at, Rows: done.at(at.Add(-750 * time.Millisecond))})
		if i%10 == 9 {
			f.expect(500)
			f.step(&wal, 0, 0.5)
			require.Greater(t, f.perRow, perRow/2, "at %d rows/s", int(rows))
			require.Less(t, f.perRow, 2*perRow, "at %d rows/s", int(rows))
			require.Greater(t, f.careful(), 4*perRow, "a cap is not divided by a forecast")
		}
	}
	f.written.add(at.Add(2*time.Second), f.written.value(), trailSpan)
	learned := f.perRow
	f.expect(500)
	require.Equal(t, learned, f.perRow, "a pause forgets nothing")
	f.expect(900)
	require.Equal(t, 900.0, f.perRow, "another job begins")
}

func TestTrail(t *testing.T) {
	at := newFakeClock().t
	var tr trail
	require.Zero(t, tr.rate(time.Second))
	require.Zero(t, tr.at(at))
	for i := range 100 {
		tr.add(at.Add(time.Duration(i)*100*time.Millisecond), 10*float64(i), 2*time.Second)
	}
	require.LessOrEqual(t, len(tr.points), 22, "what is older is forgotten")
	require.InDelta(t, 100, tr.rate(time.Second), 1e-6, "per second")
	require.InDelta(t, 985, tr.at(tr.last().Add(-50*time.Millisecond)), 1e-6)
	require.InDelta(t, tr.points[0].value, tr.at(at), 1e-9, "before the first point")
	require.True(t, tr.moves(time.Second))
	tr.add(tr.last().Add(time.Second), 5, time.Minute)
	require.Len(t, tr.points, 1, "a lower value is of another history")
}

func TestTexts(t *testing.T) {
	require.Equal(t, "14.2 MB", bytesText(14.23e6))
	require.Equal(t, "999 B", bytesText(999))
	require.Equal(t, "21.4k rows", rowsText(21400))
	require.Equal(t, "0 rows", rowsText(0))
	require.Equal(t, "0.45s", fine(0.45))
	require.Equal(t, "2s", fine(2))
}
