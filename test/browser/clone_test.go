package browser

import (
	"strings"
	"testing"
)

// A job that was cancelled half way is taken up again by a clone that continues, a part of the table is done by a clone of a range, and a row
// of a paused job is set aside.
func TestCloneAndSkip(t *testing.T) {
	f := startFleet(t, 1)
	f.table("accounts", 20_000, false)
	f.exec("ALTER TABLE accounts ADD COLUMN norm text")
	text := strings.Replace(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 1000}"), "set: {counter: counter + 1}", "set: {norm: note}\nwhere: norm IS NULL AND note IS NOT NULL", 1)
	job := f.submit(text)
	f.awaitSQL("some ranges are done", "SELECT count(*) FILTER (WHERE state = 'done') > 2 FROM backfleet.ranges WHERE job_id = $1", job)
	w := startChrome(t).open(f, "admin")
	w.visitJob(job)
	w.click("#pause")
	w.confirm()
	f.awaitState(job, "paused")

	w.click("#tab-quarantine")
	w.click("#skip-row")
	w.fill("#field-key", "19999")
	w.fill("#field-reason", "a test account")
	w.confirm()
	f.awaitSQL("the row is set aside", "SELECT count(*) = 1 FROM backfleet.quarantine WHERE job_id = $1 AND key = ARRAY['19999']", job)
	f.audited("skip", "admin")
	w.awaitText("#tab", "19999")
	w.awaitText("#tab", "a test account")

	w.click("#cancel")
	w.fill("#field-name", "norm")
	w.confirm()
	f.awaitState(job, "cancelled")

	clone := func(name, mode, from, to string) {
		w.visitJob(job)
		w.click("#clone")
		w.fill("#field-name", name)
		w.do("document.querySelector('#field-mode').value = '" + mode + "'")
		if from != "" {
			w.fill("#field-from", from)
			w.fill("#field-to", to)
		}
		w.confirm()
		w.awaitText("h1", name)
		f.awaitSQL(name+" is complete", "SELECT state = 'complete' FROM backfleet.jobs WHERE name = $1", name)
		w.awaitText("#verdict", "Complete")
	}
	clone("part", "range", "15000", "16000")
	f.awaitSQL("just that part is done", "SELECT count(*) FILTER (WHERE norm IS NULL AND id >= 15000 AND id < 16000) = 0 AND count(*) FILTER (WHERE norm IS NULL) > 5000 FROM accounts")
	clone("rest", "continue", "", "")
	f.awaitSQL("all is done", "SELECT count(*) = 0 FROM accounts WHERE norm IS NULL")
	w.clean()
}
