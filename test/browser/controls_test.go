package browser

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// audited waits until the last event of an action is by somebody.
func (f *fleet) audited(action, by string) {
	f.t.Helper()
	f.awaitSQL(action+" of "+by+" is on record", "SELECT coalesce((SELECT by = $2 FROM backfleet.events WHERE action LIKE $1 || '%' ORDER BY id DESC LIMIT 1), false)", action, by)
}

// Every control of a job and of a database, by an operator: each asks first, does what it says, and is on record.
func TestControls(t *testing.T) {
	f := startFleet(t, 2)
	f.table("accounts", 200_000, true)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 600}"))
	f.awaitState(job, "running")
	w := startChrome(t).open(f, "operator")
	w.visitJob(job)

	// A dialog that is left changes nothing.
	w.click("#pause")
	w.run(chromedp.KeyEvent(kb.Escape))
	w.await("the dialog has closed", "!document.querySelector('dialog')")
	f.awaitState(job, "running")

	w.click("#pause")
	w.fill("#field-reason", "deploy of the night")
	w.confirm()
	f.awaitState(job, "paused")
	f.audited("pause", "operator")
	w.awaitText("#verdict", "Paused")
	w.awaitText("#verdict", "deploy of the night")
	w.click("#resume")
	w.confirm()
	f.awaitState(job, "running")
	f.audited("resume", "operator")
	w.awaitText("#state", "running")

	w.click("#limits")
	w.fill("[id='field-throttle.max_rows_per_second']", "700")
	w.fill("#field-more", "batch.max_rows=650")
	w.confirm()
	f.awaitSQL("both limits are set", `SELECT limits->'throttle'->>'max_rows_per_second' = '700' AND limits->'batch'->>'max_rows' = '650' FROM backfleet.jobs WHERE id = $1`, job)
	f.audited("set", "operator")
	w.click("#limits")
	w.fill("[id='field-workers.max']", "none")
	w.click("dialog button[type=submit]")
	w.awaitText("#dialog-error", "workers.max")
	w.expect("422")
	w.click("#dialog-cancel")

	// Quarantine: rows are listed with their errors; once mended, retry takes them out.
	f.awaitSQL("a poison row is set aside", "SELECT count(*) > 0 FROM backfleet.quarantine")
	w.click("#tab-quarantine")
	w.awaitText("#tab", "4321")
	w.awaitText("#tab", "poison")
	f.exec("ALTER TABLE accounts DROP CONSTRAINT poison")
	w.click("#retry-all")
	w.confirm()
	f.awaitSQL("the quarantine is empty", "SELECT count(*) = 0 FROM backfleet.quarantine")
	f.audited("retry", "operator")
	w.awaitText("#tab", "No row was set aside")

	// A range of the map: with the mouse, and with the keyboard alone.
	w.await("the map is drawn", "document.querySelector('#map').dataset.cells === '400'")
	w.do("document.querySelector('#map').focus()")
	w.run(chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.ArrowLeft))
	w.awaitText("#map-said", "Range 398")
	w.run(chromedp.KeyEvent(kb.Enter))
	w.awaitText("#range h3", "Range 398")
	w.click("#skip-range")
	w.fill("#field-reason", "a tenant that left")
	w.confirm()
	f.awaitSQL("the range is skipped", "SELECT state = 'skipped' FROM backfleet.ranges WHERE job_id = $1 AND index = 398", job)
	f.audited("skip", "operator")
	w.awaitText("#map-legend", "skipped 1")

	w.click("#tab-events")
	w.awaitText("#tab", "a tenant that left")
	w.awaitText("#tab", "700")

	w.visit("#/")
	w.click("#weight-norm")
	w.fill("#field-weight", "7")
	w.confirm()
	f.awaitSQL("the weight is set", "SELECT (limits->>'weight')::int = 7 FROM backfleet.jobs WHERE id = $1", job)
	w.click("#caps-main")
	w.fill("#field-max_rows_per_second", "1200")
	w.confirm()
	f.awaitSQL("the cap is set", "SELECT (rules->>'max_rows_per_second')::int = 1200 FROM backfleet.throttle")
	w.click("#override-main")
	w.fill("#field-rate", "0.25")
	w.confirm()
	w.awaitText("#overridden-main", "25 % of its rate")
	w.click("#override-main")
	w.confirm()
	w.await("the override is over", "!document.querySelector('#overridden-main')")
	w.click("#hold-main")
	w.fill("#field-for", "5m")
	w.fill("#field-reason", "incident 1234")
	w.confirm()
	f.awaitSQL("the brake is on", "SELECT EXISTS (SELECT FROM backfleet.brake WHERE reason = 'incident 1234' AND by = 'operator')")
	w.awaitText("#database-main .verdict", "Held by a person")
	w.awaitText("#database-main .verdict", "incident 1234")
	w.click("#release-main")
	w.confirm()
	f.awaitSQL("the brake is off", "SELECT NOT EXISTS (SELECT FROM backfleet.brake)")
	f.audited("release", "operator")

	w.visitJob(job)
	w.click("#cancel")
	w.fill("#field-name", "another")
	w.click("dialog button[type=submit]")
	w.awaitText("#dialog-error", "The name is norm")
	w.fill("#field-name", "norm")
	w.confirm()
	f.awaitState(job, "cancelled")
	f.audited("cancel", "operator")
	w.awaitText("#verdict", "Cancelled")
	w.clean()
}

// A job that is complete shows its proof, and may be verified again.
func TestACompleteJob(t *testing.T) {
	f := startFleet(t, 2)
	f.table("small", 5_000, false)
	job := f.submit(spec("quick", "small", 500, "check: counter = 1"))
	w := startChrome(t).open(f, "operator")
	w.visitJob(job)
	f.awaitState(job, "complete")
	w.awaitText("#verdict", "Complete")
	w.click("#tab-report")
	w.awaitText("#tab", "Verified")
	w.awaitText("#tab", "gap-free")
	w.await("the map is that of the verification", "document.querySelector('#map').dataset.cells === '1'") // its few blocks are one range
	w.awaitText("#map-legend", "done 1")
	w.picture("job-complete")
	w.click("#verify")
	w.confirm()
	f.audited("verify", "operator")
	f.awaitState(job, "complete")
	w.reload()
	w.awaitText("#verdict", "Complete")
	w.visit("#/")
	w.awaitText("#ended", "quick")
	w.clean()
}

// A viewer sees everything and may press nothing; the API refuses what a page is made to send.
func TestAViewerMayOnlyLook(t *testing.T) {
	f := startFleet(t, 1)
	f.table("accounts", 50_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 500}"))
	w := startChrome(t).open(f, "viewer")
	w.awaitText(".who", "viewer")
	w.visitJob(job)
	for _, id := range []string{"pause", "limits", "cancel", "retry"} {
		w.await(id+" cannot be pressed", fmt.Sprintf("document.querySelector('#%s').disabled", id))
		require.Equal(t, "Needs the role operator", eval[string](w, fmt.Sprintf("document.querySelector('#%s').title", id)))
	}
	w.expect("403")
	require.Equal(t, 403, eval[int](w, fmt.Sprintf(`fetch('/v1/jobs/%s/pause', {method: 'POST', headers: {Authorization: 'Bearer ' + sessionStorage.getItem('backfleet.token')}}).then((r) => r.status)`, job)))
	w.visit("#/")
	w.await("hold cannot be pressed", "document.querySelector('#hold-main')?.disabled")
	w.visit("#/new")
	w.awaitText("#not-admin", "need the role admin")
	f.awaitState(job, "running")
	w.clean()
}

// A spec is planned before it can be submitted; one that is refused says why, and changes nothing.
func TestSubmit(t *testing.T) {
	f := startFleet(t, 1)
	f.table("small", 5_000, false)
	w := startChrome(t).open(f, "admin")
	w.awaitText("#database-main", "Idle")
	w.visit("#/new")
	w.expect("422")
	w.fill("#spec", "name: x\ndatabase: main\ntable: public.smal\nset: {counter: counter + 1}")
	require.True(t, eval[bool](w, "document.querySelector('#do-submit').disabled"), "nothing was planned")
	w.click("#do-plan")
	w.awaitText("#plan-error", "no such table")
	w.picture("plan-refused")
	require.True(t, eval[bool](w, "document.querySelector('#do-submit').disabled"), "it was refused")

	w.fill("#spec", spec("from-the-browser", "small", 500, "throttle: {max_rows_per_second: 300}"))
	w.click("#do-plan")
	w.awaitText("#plan h2", "Plan of from-the-browser")
	w.awaitText("#plan", "public.small")
	w.awaitText("#plan", "from the first batch to the proof")
	f.awaitSQL("no job yet", "SELECT count(*) = 0 FROM backfleet.jobs")
	w.run(chromedp.SendKeys(chromedp.CSS("#spec"), " "))
	require.True(t, eval[bool](w, "document.querySelector('#do-submit').disabled"), "it was changed since")
	w.click("#do-plan")
	w.click("#do-submit")
	w.confirm()
	w.awaitText("h1", "from-the-browser")
	f.audited("submit", "admin")
	w.awaitText("#state", "running")

	// A clone begins with the spec and the limits of now, under another name, and is planned like any other.
	w.click("#clone")
	w.confirm()
	w.awaitText("h1", "New job")
	require.Contains(t, eval[string](w, "document.querySelector('#spec').value"), "name: from-the-browser-2\n")
	require.Contains(t, eval[string](w, "document.querySelector('#spec').value"), "max_rows_per_second: 300\n")
	w.click("#do-plan")
	w.awaitText("#plan h2", "Plan of from-the-browser-2")

	// Or it is made at once.
	w.visit("#/")
	w.click("#job-from-the-browser a")
	w.click("#clone")
	w.fill("#field-name", "the-clone")
	w.do("document.querySelector('#field-mode').value = 'restart'")
	w.confirm()
	w.awaitText("h1", "the-clone")
	f.awaitSQL("the clone is stored, with the limits in force",
		"SELECT count(*) = 1 FROM backfleet.jobs WHERE name = 'the-clone' AND limits->'throttle'->>'max_rows_per_second' = '300'")
	w.clean()
}

// A statement is shown with what it writes and reads, and a clone of its job has it as its author wrote it.
func TestSubmitAStatement(t *testing.T) {
	f := startFleet(t, 1)
	f.table("small", 5_000, false)
	f.exec("CREATE TABLE copies (id bigint PRIMARY KEY)")
	const statement = "statement: |\n  INSERT INTO copies (id)\n  SELECT s.id FROM small s WHERE {{range}}\n  ON CONFLICT DO NOTHING\n"
	w := startChrome(t).open(f, "admin")
	w.visit("#/new")
	w.fill("#spec", "name: copy\ndatabase: main\ntable: public.small\nalias: s\nlate_rows: ignore\nrows_per_range: 500\n"+statement)
	w.click("#do-plan")
	w.awaitText("#plan h2", "Plan of copy")
	w.awaitText("#plan", "insert, on conflict do nothing")
	w.awaitText("#plan", "its rows not locked")
	w.awaitText("#findings", "are read without a lock")
	w.click("#do-submit")
	w.confirm()
	w.awaitText("h1", "copy")
	f.awaitSQL("it is complete", "SELECT count(*) = 1 FROM backfleet.jobs WHERE name = 'copy' AND state = 'complete'")
	w.click("#clone")
	w.confirm()
	w.awaitText("h1", "New job")
	require.Contains(t, eval[string](w, "document.querySelector('#spec').value"), statement)
	w.click("#do-plan")
	w.awaitText("#plan h2", "Plan of copy-2")
	w.clean()
}

// Two operators at once: each sees what the other did within moments, and a dialog that is out of date is refused.
func TestTwoOperators(t *testing.T) {
	f := startFleet(t, 1)
	f.table("accounts", 50_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 500}"))
	f.awaitState(job, "running")
	c := startChrome(t)
	olga, otto := c.open(f, "operator"), c.open(f, "operator2")
	olga.visitJob(job)
	otto.visitJob(job)
	olga.click("#pause")
	olga.fill("#field-reason", "olga was first")
	olga.confirm()
	otto.awaitText("#verdict", "olga was first")
	otto.click("#resume")
	otto.confirm()
	olga.awaitText("#state", "running")
	f.audited("resume", "operator2")

	olga.click("#pause")
	otto.click("#cancel")
	otto.fill("#field-name", "norm")
	otto.confirm()
	f.awaitState(job, "cancelled")
	olga.expect("409")
	olga.expect("412")
	olga.click("dialog button[type=submit]")
	olga.await("the dialog says why not", "document.querySelector('#dialog-error')?.textContent.length > 10")
	olga.click("#dialog-cancel")
	olga.awaitText("#verdict", "Cancelled")
	olga.clean()
	otto.clean()
}

// Where a database asks for it, a job begins only after another person has read its plan and approved it.
func TestASecondPersonApproves(t *testing.T) {
	f := startFleet(t, 1)
	f.table("small", 5_000, false)
	f.exec("UPDATE backfleet.policy SET approval = true") // as `backfleet db set main --approval on` does
	c := startChrome(t)
	ann, bob := c.open(f, "admin"), c.open(f, "admin2")
	ann.awaitText("#database-main", "Idle")
	ann.visit("#/new")
	ann.fill("#spec", spec("sensitive", "small", 500, ""))
	ann.click("#do-plan")
	ann.click("#do-submit")
	ann.confirm()
	ann.awaitText("#verdict", "Awaits approval")
	ann.expect("403")
	ann.click("#approve")
	ann.awaitText("dialog", "Plan of sensitive")
	ann.picture("approve")
	ann.click("dialog button[type=submit]")
	ann.awaitText("#dialog-error", "may not do this")
	ann.click("#dialog-cancel")

	bob.awaitText("#job-sensitive", "awaiting approval")
	bob.click("#job-sensitive a")
	bob.click("#approve")
	bob.awaitText("dialog", "admin submitted it")
	bob.confirm()
	f.audited("approve", "admin2")
	bob.awaitText("#verdict", "Complete")
	ann.awaitText("#verdict", "Complete")
	ann.clean()
	bob.clean()
}
