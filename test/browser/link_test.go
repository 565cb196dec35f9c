package browser

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without its coordinator the page says so and keeps what it showed; it goes on by itself when the coordinator is back.
func TestTheConnectionIsLost(t *testing.T) {
	f := startFleet(t, 1)
	f.table("accounts", 50_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 500}"))
	w := startChrome(t).open(f, "operator")
	w.expect("ERR_")
	w.visitJob(job)
	w.awaitText("#link", "Live")
	require.NoError(t, f.coordinator.Kill())
	w.awaitText("#alert", "Connection lost")
	w.awaitText("#alert", "s old")
	w.awaitText("#alert", "Trying again in")
	w.picture("lost")
	require.Equal(t, "norm", eval[string](w, "document.querySelector('h1').textContent"), "what was known is still shown")
	// What is pressed now fails with words, not in silence.
	w.click("#pause")
	w.click("dialog button[type=submit]")
	w.awaitText("#dialog-error", "cannot be reached")
	w.click("#dialog-cancel")
	f.startCoordinator()
	w.awaitText("#link", "Live")
	w.await("the alert is gone", "!document.querySelector('#alert').textContent")
	w.awaitText("#state", "running")
	w.clean()
}

// A token that is not known leads to the login form, at once and in mid-view; a good one leads on.
func TestATokenThatIsNotKnown(t *testing.T) {
	f := startFleet(t, 0)
	w := startChrome(t).open(f, "")
	w.expect("401")
	w.expect("ERR_")
	w.awaitText("h1", "Sign in")
	w.fill("#token", "guessed")
	w.click(".login button")
	w.awaitText(".login", "no API token that is known here")
	w.fill("#token", tokens["viewer"])
	w.click(".login button")
	w.awaitText("#database-main", "Idle")

	// It expires, or is revoked, while its holder looks.
	for _, end := range []string{"expires", "revoked"} {
		f.writeTokens(" " + end + "=2026-01-02T03:04:05Z")
		w.awaitText(".login", end[:5])
		f.writeTokens("")
		w.fill("#token", tokens["viewer"])
		w.click(".login button")
		w.awaitText("#database-main", "Idle")
	}
	require.NoError(t, os.Remove(f.file("tokens")))
	require.NoError(t, os.WriteFile(f.file("tokens"), []byte("# nobody\n"), 0o600))
	w.awaitText(".login", "no API token that is known here")
	require.NotContains(t, eval[string](w, "JSON.stringify(sessionStorage)"), tokens["viewer"])
	w.clean()
}

// A reload, and the address of a page in a new tab that has a token, lead to the same page.
func TestReload(t *testing.T) {
	f := startFleet(t, 1)
	f.table("accounts", 50_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 500}"))
	w := startChrome(t).open(f, "viewer")
	w.visitJob(job)
	w.await("the map is drawn", "document.querySelector('#map')?.dataset.cells === '100'")
	w.reload()
	w.awaitText("h1", "norm")
	w.await("the map is drawn again", "document.querySelector('#map')?.dataset.cells === '100'")
	w.await("it goes on", "Number(document.querySelector('#map')?.dataset.updates) > 2")
	w.visit("#/jobs/main/no-such-job")
	w.expect("404")
	w.awaitText("main", "no-such-job")
	w.clean()
}
