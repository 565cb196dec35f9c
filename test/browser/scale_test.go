package browser

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	manyRanges = 100_000
	paintMost  = 1000.0     // ms until the page shows something
	updateMost = 100.0      // ms of the page's time for one update of the map
	heapGrowth = 12_000_000 // bytes over the whole time
)

// The job page at 100,000 ranges, while their states change. It is looked at for a minute, or for as many as BACKFLEET_BROWSER_MINUTES says.
func TestManyRanges(t *testing.T) {
	lasting := time.Minute
	if minutes, err := strconv.Atoi(os.Getenv("BACKFLEET_BROWSER_MINUTES")); err == nil {
		lasting = time.Duration(minutes) * time.Minute
	}
	rate := min(2000, int(0.8*2*manyRanges/lasting.Seconds())) // the job must not end before
	f := startFleet(t, 2)
	f.table("wide", 2*manyRanges, false)
	job := f.submit(spec("wide", "wide", 2, fmt.Sprintf("throttle: {max_rows_per_second: %d}", rate)))
	f.awaitSQL("all ranges are planned", "SELECT planned_at IS NOT NULL FROM backfleet.jobs WHERE id = $1", job)
	var n int
	require.NoError(t, f.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM backfleet.ranges WHERE job_id = $1 AND round = 0", job).Scan(&n))
	require.GreaterOrEqual(t, n, manyRanges)

	w := startChrome(t).open(f, "viewer")
	w.awaitText("#job-wide", "running")
	w.visitJob(job)
	w.reload()
	w.await("the map is drawn", "Number(document.querySelector('#map')?.dataset.cells) >= 100000")
	mapped := eval[float64](w, "performance.now()")
	paint := eval[float64](w, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e9")
	first := eval[string](w, "document.querySelector('#map').dataset.took")
	w.picture("job-100k")
	t.Logf("first paint after %.0f ms, the whole map after less than %.0f ms, of which drawing it took %s ms", paint, mapped, first)
	require.Less(t, paint, paintMost)

	const heap = "(() => { gc(); gc(); return performance.memory.usedJSHeapSize })()"
	w.await("a few updates", "Number(document.querySelector('#map').dataset.updates) > 5")
	before := eval[float64](w, heap)
	ends := time.Now().Add(lasting)
	for time.Now().Before(ends) {
		time.Sleep(5 * time.Second) // somebody looks, and moves the mouse
		w.do("const b = document.querySelector('#map').getBoundingClientRect(); document.querySelector('#map').dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + Math.random() * b.width, clientY: b.top + 20, bubbles: true}))")
	}
	after := eval[float64](w, heap)
	worst := eval[float64](w, "Number(document.querySelector('#map').dataset.worst)")
	updates := eval[float64](w, "Number(document.querySelector('#map').dataset.updates)")
	t.Logf("%.0f updates in %s, the slowest took %.1f ms; the heap was %.1f MB and is %.1f MB", updates, lasting, worst, before/1e6, after/1e6)
	require.Greater(t, updates, lasting.Seconds()/10, "the map is live")
	require.Less(t, worst, updateMost)
	require.Less(t, after-before, float64(heapGrowth))
	w.clean()
}
