package browser

import (
	"testing"
)

// Every page in light and dark and on a phone: it complains of nothing, and its picture is left for people.
func TestPages(t *testing.T) {
	f := startFleet(t, 2)
	f.table("accounts", 200_000, true)
	f.table("small", 20_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 4000}"))
	f.submit(spec("second-job", "small", 500, "throttle: {max_rows_per_second: 200}\nweight: 3"))
	f.awaitSQL("a quarter is done", "SELECT coalesce(sum(rows), 0) > 50000 FROM backfleet.ranges WHERE job_id = $1", job)

	c := startChrome(t)
	w := c.open(f, "admin")
	w.awaitText("#job-norm", "running")
	w.picture("fleet")
	w.visitJob(job)
	w.await("charts are drawn", "document.querySelectorAll('.chart canvas').length >= 6")
	w.picture("job")
	w.clean()
}
