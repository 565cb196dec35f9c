package throttle

import (
	"math"
	"slices"
	"time"
)

const (
	flowWindow  = time.Second            // a worker counts up its rows once in it
	flowAge     = 250 * time.Millisecond // how old the count of rows is, about; it may be older, but hardly younger
	flowPerRow  = 500.0                  // bytes of WAL a row, before anything was seen
	flowDoubt   = 4 * flowPerRow         // how far off that may be
	flowMinimum = 10.0                   // bytes of WAL a row: no row costs less
	flowPaces   = 4                      // steps over which a swing of the rate is looked for
	flowSwing   = 0.5                    // of the swing: how uncertain it makes the count
	flowForgets = 2.0                    // of a row's WAL: what is learned is doubted no further, however long no row is written
	flowBelief  = 0.5                    // of a row's WAL: how far off a forecast of it is thought to be
)

// flow tells the WAL of the fleet from that of the application: WAL per second = application + rows per second × WAL per row. Both
// unknowns are followed by a Kalman filter that lets either drift, so it needs no measurement of a single row; with one, only the
// application's part is left to estimate. Rows and positions are compared over a window of a second.
//
// The two are told apart as far as the rate of rows changes; their sum is right in any case, and that is what a budget stands on.
type flow struct {
	app    float64 // bytes per second
	perRow float64 // bytes

	known    bool       // rows have been counted
	forecast float64    // bytes of WAL a row, as last expected; 0: nobody knew
	believes bool       // perRow was a forecast
	cov      [3]float64 // of app; of app and perRow; of perRow
	rows     float64    // rows per second, lately
	wal      float64    // bytes per second, lately

	written trail     // rows
	paces   []float64 // rows per second at the last steps
}

func newFlow() *flow { return &flow{perRow: flowPerRow, cov: [3]float64{0, 0, sq(flowDoubt)}} }

// note takes a sample's count of rows.
func (f *flow) note(s Sample) { f.written.add(s.At, s.Rows, trailSpan) }

// expect takes a forecast of a row's WAL, in bytes, until rows are counted, and anew where it is of other jobs and no row was written lately: what
// was learned of these jobs' rows is worth more. While a fleet gets faster the count of its rows falls behind, and each seems to cost several
// times its WAL: one who has a forecast need not believe that.
func (f *flow) expect(perRow float64) {
	others := perRow != f.forecast
	f.forecast = perRow
	if perRow > 0 && (others || !f.known) && f.written.rate(flowWindow) == 0 {
		f.perRow = max(flowMinimum, perRow)
		f.cov[1], f.cov[2] = 0, sq(flowBelief*f.perRow)
		f.believes = true
	}
}

// step learns from the last second. Call it about twice a second.
func (f *flow) step(wal *trail, measured, dt float64) {
	f.rows = f.written.rate(flowWindow)
	if len(wal.points) < 2 {
		return
	}
	f.wal = wal.before(flowAge, flowWindow)
	if !f.known { // until a row is counted all WAL is the application's, as far as one sees
		f.known = f.rows > 0
		f.cov[0] = sq(f.wal)
	}
	dt = min(dt, 2)
	if measured > 0 && !math.IsInf(measured, 1) {
		f.perRow, f.cov[1], f.cov[2] = measured, 0, 0
	} else if f.cov[2] < sq(flowForgets*f.perRow) {
		f.cov[2] += sq(0.15*f.perRow) * dt
	}
	f.cov[0] += sq(0.15*f.wal) * dt

	// The row count is up to a second old, so it is the less certain the more rows there are, and while their rate swings, as where
	// the fleet is stopped and started, a second's rows are not those of its WAL.
	noise := sq(0.05*f.wal) + sq(0.2*f.rows*f.perRow) + sq(flowSwing*f.swing()*f.perRow) + 1
	gap := f.wal - f.app - f.rows*f.perRow
	viaApp := f.cov[0] + f.rows*f.cov[1]
	viaRow := f.cov[1] + f.rows*f.cov[2]
	total := viaApp + f.rows*viaRow + noise
	f.app = max(0, f.app+gap*viaApp/total)
	f.perRow = max(flowMinimum, f.perRow+gap*viaRow/total)
	f.cov[0] -= viaApp * viaApp / total
	f.cov[1] -= viaApp * viaRow / total
	f.cov[2] -= viaRow * viaRow / total
}

// swing is by how much the rate of rows moved over the last steps.
func (f *flow) swing() float64 {
	if f.paces = append(f.paces, f.rows); len(f.paces) > flowPaces {
		f.paces = f.paces[1:]
	}
	return slices.Max(f.paces) - slices.Min(f.paces)
}

// careful is the WAL of a row for a cap, which shall hold: the estimate and its deviation. Where the two unknowns have not been told
// apart yet that is far too much; the rate is then low at first, and each change of it tells more. A forecast makes it no bolder: after a
// checkpoint a row may cost many times what it did in a sample.
func (f *flow) careful() float64 {
	doubt := math.Sqrt(max(0, f.cov[2]))
	if f.believes {
		doubt = max(doubt, flowDoubt)
	}
	return f.perRow + doubt
}

func sq(x float64) float64 { return x * x }
