package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/stretchr/testify/require"
)

// Every page in light and in dark, on a desk and on a phone: axe-core has nothing serious against it, nothing sticks out of a narrow
// screen, the page complains of nothing, and its picture is left for people.
func TestPagesAreAccessible(t *testing.T) {
	f := startFleet(t, 2)
	f.table("accounts", 200_000, true)
	f.table("small", 20_000, false)
	job := f.submit(spec("norm", "accounts", 500, "throttle: {max_rows_per_second: 3000}"))
	other := f.submit(spec("second-job", "small", 500, "throttle: {max_rows_per_second: 200}\nweight: 3"))
	f.awaitSQL("a row is in quarantine, and two points of the history are there",
		"SELECT EXISTS (SELECT FROM backfleet.quarantine) AND (SELECT count(*) > 2 FROM backfleet.samples WHERE job_id = $1)", job)

	c := startChrome(t)
	for _, screen := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"light", 1360, 900, false}, {"dark", 1360, 900, true}, {"phone", 390, 844, false}} {
		login := c.openSized(f, "", screen.width, screen.height)
		login.dark(screen.dark)
		login.awaitText("h1", "Sign in")
		login.judge("login-" + screen.name)

		w := c.openSized(f, "admin", screen.width, screen.height)
		w.dark(screen.dark)
		w.awaitText("#job-norm", "running")
		w.judge("fleet-" + screen.name)

		w.visitJob(job)
		w.await("charts are drawn", "document.querySelectorAll('.chart canvas').length >= 8")
		w.await("the map is drawn", "document.querySelector('#map')?.dataset.cells === '400'")
		w.judge("job-" + screen.name)
		for _, tab := range []string{"events", "spec", "forecast", "report"} {
			w.click("#tab-" + tab)
			w.await("the tab is read", "!document.querySelector('#tab').textContent.startsWith('Reading')")
			w.judge(fmt.Sprintf("job-%s-%s", tab, screen.name))
		}
		w.click("#pause")
		w.judge("dialog-" + screen.name)
		w.click("#dialog-cancel")

		w.visit("#/new")
		w.fill("#spec", strings.TrimSpace(spec("third", "small", 500, "")))
		w.click("#do-plan")
		w.awaitText("#plan h2", "Plan of third")
		w.judge("plan-" + screen.name)
		w.clean()
		login.clean()
	}
	f.cli("throttle", "hold", "main", "--for", "10m", "--reason", "nightly dump")
	w := c.open(f, "operator")
	w.awaitText("#database-main .verdict", "nightly dump")
	w.judge("fleet-held")
	w.visitJob(job)
	w.awaitText("#verdict", "Held")
	w.judge("job-held")
	f.cli("throttle", "release", "main")
	f.cli("pause", "second-job")
	w.visitJob(other)
	w.awaitText("#verdict", "Paused")
	w.judge("job-paused")
	w.clean()
}

// dark has the system prefer dark colours, or light ones.
func (w *window) dark(yes bool) {
	w.t.Helper()
	value := "light"
	if yes {
		value = "dark"
	}
	w.run(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}}))
}

// judge leaves a picture of the page and fails the test where axe-core finds something serious, or where the page is wider than the
// screen.
func (w *window) judge(name string) {
	w.t.Helper()
	w.picture(name)
	require.LessOrEqual(w.t, eval[int](w, "document.documentElement.scrollWidth"), eval[int](w, "document.documentElement.clientWidth"), "%s is wider than its screen", name)
	axe, err := os.ReadFile("axe/node_modules/axe-core/axe.min.js")
	require.NoError(w.t, err, "axe-core is missing; test/setup.sh browser installs it")
	if !eval[bool](w, "Boolean(window.axe)") {
		eval[bool](w, string(axe)+"; true")
	}
	found := eval[string](w, `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((r) =>
		JSON.stringify(r.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map((n) => n.html.slice(0, 160) + ' ' + n.failureSummary)}))))`)
	var violations []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	require.NoError(w.t, json.Unmarshal([]byte(found), &violations))
	for _, v := range violations {
		text := fmt.Sprintf("%s: axe-core: %s (%s): %s\n%s", name, v.ID, v.Impact, v.Help, strings.Join(v.Nodes, "\n"))
		if v.Impact == "serious" || v.Impact == "critical" {
			w.t.Error(text)
		} else {
			w.t.Log(text)
		}
	}
}

// The switch of the theme overrules the system, and is remembered.
func TestTheme(t *testing.T) {
	f := startFleet(t, 0)
	w := startChrome(t).open(f, "viewer")
	ground := func() string { return eval[string](w, "getComputedStyle(document.body).backgroundColor") }
	w.awaitText("#database-main", "Idle")
	w.dark(false)
	light := ground()
	w.dark(true)
	dark := ground()
	require.NotEqual(t, light, dark, "the system's choice")
	w.click("#theme")
	require.Equal(t, light, ground(), "light, whatever the system says")
	w.dark(false)
	w.click("#theme")
	require.Equal(t, dark, ground())
	w.reload()
	w.awaitText("#theme", "dark")
	require.Equal(t, dark, ground())
	w.clean()
}

// A page loads nothing from elsewhere, and its policy lets it do no more.
func TestNothingComesFromElsewhere(t *testing.T) {
	f := startFleet(t, 0)
	w := startChrome(t).open(f, "viewer")
	w.awaitText("#database-main", "Idle")
	for _, url := range eval[[]string](w, "performance.getEntriesByType('resource').map((e) => e.name)") {
		require.True(t, strings.HasPrefix(url, f.url+"/"), url)
	}
	w.expect("Content Security Policy")
	w.expect("Trusted") // of a text that should become a script
	for _, js := range []string{
		"const s = document.createElement('script'); s.textContent = 'window.pwned = true'; document.body.append(s)",
		"document.body.setAttribute('onclick', 'window.pwned = true'); document.body.click()",
		"await new Promise((done) => setTimeout('window.pwned = true') || done()).catch(() => {})",
	} {
		_ = eval[bool](w, "(async () => {"+js+"})().then(() => true, () => true)")
	}
	require.False(t, eval[bool](w, "Boolean(window.pwned)"))
	require.True(t, eval[bool](w, "fetch('http://127.0.0.1:1/').then(() => false, () => true)"))
	w.clean()
}

// What `backfleet run` prints signs its reader in, and leaves no token in the address bar or the history.
func TestRunPrintsALink(t *testing.T) {
	f := startFleet(t, 0)
	require.NoError(t, f.coordinator.Term())
	f.table("accounts", 50_000, false)
	require.NoError(t, os.WriteFile(f.file("run.yaml"), []byte(spec("by-run", "accounts", 500, "throttle: {max_rows_per_second: 500}")), 0o600))
	run := f.run("run", f.file("run.yaml"), "--state-dir", f.file("run"))
	link := run.link(f)
	f.url = link[:strings.Index(link, "/#")]
	c := startChrome(t)
	w := c.open(f, "")
	w.do(fmt.Sprintf("location.href = %q", link))
	w.awaitText("#job-by-run", "running")
	require.Equal(t, f.url+"/#/", eval[string](w, "location.href"))
	require.Equal(t, "admin", eval[string](w, "document.querySelector('.who').textContent.split(' · ')[1]"))
	token := link[strings.Index(link, "=")+1:]
	require.NotContains(t, eval[string](w, "document.documentElement.outerHTML"), token)
	require.NotContains(t, eval[string](w, "JSON.stringify(localStorage) + document.cookie"), token, "it is kept for this tab only")
	w.reload()
	w.awaitText("#job-by-run", "running")
	w.clean()
}
