package throttle

import "time"

const (
	flowWindow  = time.Second            // a worker counts up its rows once in it
	flowAge     = 400 * time.Millisecond // how old the count of rows is
	flowPerRow  = 500.0                  // bytes of WAL a row, before anything was seen
	flowLearn   = 3.0                    // seconds of rows
	flowMinimum = 10.0                   // bytes of WAL a row: no row costs less
)

// flow tells the WAL of the fleet from that of the application: WAL per second = application + rows per second × WAL per row. Both
// unknowns are followed by a Kalman filter that lets either drift, so it needs no measurement of a single row; with one, only the
// application's part is left to estimate. Rows and positions are compared over a window of a second.
//
// The two are told apart as far as the rate of rows changes; their sum is right in any case, and that is what a budget stands on.
type flow struct {
	app    float64 // bytes per second
	perRow float64 // bytes

	known bool       // the filter has begun
	cov   [3]float64 // of app; of app and perRow; of perRow
	rows  float64    // rows per second, lately
	wal   float64    // bytes per second, lately

	written trail   // rows
	learned float64 // seconds in which rows were written
}

func newFlow() *flow { return &flow{perRow: flowPerRow} }

// note takes a sample's count of rows.
func (f *flow) note(s Sample) { f.written.add(s.At, s.Rows, trailSpan) }

// step learns from the last second. Call it about twice a second.
func (f *flow) step(wal *trail, measured, dt float64) {
	f.rows = f.written.rate(flowWindow)
	if len(wal.points) < 2 {
		return
	}
	f.wal = wal.before(flowAge, flowWindow)
	if !f.known {
		f.known = true
		f.app = f.wal
		f.cov = [3]float64{f.wal * f.wal, 0, flowPerRow * flowPerRow}
	}
	dt = min(dt, 2)
	if f.rows > 0 {
		f.learned += dt
	}
	if measured > 0 {
		f.perRow, f.cov[1], f.cov[2], f.learned = measured, 0, 0, flowLearn
	} else {
		f.cov[2] += sq(0.15*f.perRow) * dt
	}
	f.cov[0] += sq(0.15*f.wal) * dt

	// The row count is up to a second old, so it is the less certain the more rows there are.
	noise := sq(0.05*f.wal) + sq(0.2*f.rows*f.perRow) + 1
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

// careful is the WAL of a row for a cap that shall hold from the first batch on: four times the estimate until it was learned.
func (f *flow) careful() float64 {
	if f.learned < flowLearn {
		return 4 * f.perRow
	}
	return f.perRow
}

func sq(x float64) float64 { return x * x }
