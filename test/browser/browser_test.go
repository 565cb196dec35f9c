package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// chrome is one browser of a test, which may open several windows that share nothing.
type chrome struct {
	t   *testing.T
	ctx context.Context
}

func startChrome(t *testing.T) *chrome {
	t.Helper()
	path, err := exec.LookPath("chromium")
	require.NoError(t, err, "chromium is missing; test/setup.sh browser installs it")
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience), chromedp.Flag("js-flags", "--expose-gc"),
	}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update",
		"disable-sync", "disable-dev-shm-usage", "enable-precise-memory-info", "hide-scrollbars",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		end()
		endAllocator()
	})
	require.NoError(t, chromedp.Do(ctx))
	return &chrome{t, ctx}
}

// window is one tab with storage of its own. What the page complains of is collected: nothing of it is right.
type window struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	troubles []string
	expected []string
}

// open opens a window on the fleet's dashboard, signed in with a role's token by the link that `run` prints; "" is not signed in.
func (c *chrome) open(f *fleet, who string) *window {
	c.t.Helper()
	return c.openSized(f, who, 1360, 900)
}

func (c *chrome) openSized(f *fleet, who string, width, height int64) *window {
	c.t.Helper()
	ctx, end := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	c.t.Cleanup(end)
	w := &window{t: c.t, ctx: ctx, url: f.url}
	require.NoError(c.t, chromedp.Do(ctx, chromedp.EmulateViewport(width, height)))
	require.NoError(c.t, chromedp.Listen(ctx, w.hear))
	w.run(call(log.Enable, cdp.Empty{}))
	if who == "" {
		w.run(chromedp.Navigate(f.url + "/"))
	} else {
		w.run(chromedp.Navigate(f.url + "/#token=" + tokens[who]))
	}
	return w
}

func (w *window) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.troubles = append(w.troubles, fmt.Sprintf("%s %s:%d", exceptionText(e.ExceptionDetails), e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber))
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			w.troubles = append(w.troubles, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// expect says that the page may complain of this: an answer that the test provokes.
func (w *window) expect(text string) { w.expected = append(w.expected, text) }

// clean fails the test where the page complained.
func (w *window) clean() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, trouble := range w.troubles {
		known := false
		for _, text := range w.expected {
			known = known || strings.Contains(trouble, text)
		}
		require.True(w.t, known, "the page complains: %s", trouble)
	}
}

// call is a command of the protocol whose answer says nothing.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

func (w *window) run(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, actions...)
	if err != nil {
		w.picture("failed-" + w.t.Name())
	}
	require.NoError(w.t, err)
}

// eval evaluates an expression, which may be a promise.
func eval[T any](w *window, js string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	require.NoError(w.t, err, js)
	return got
}

// do evaluates a statement.
func (w *window) do(js string) {
	w.t.Helper()
	eval[bool](w, "(async () => {"+js+"; return true})()")
}

// await waits until an expression is true.
func (w *window) await(what, js string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		if yes {
			return
		}
		select {
		case <-ctx.Done():
			w.picture("failed-" + w.t.Name())
			w.t.Fatalf("after %s not yet: %s (%v)\n%s", patience, what, err, w.text())
		case <-time.After(pollEvery):
		}
	}
}

// awaitText waits until an element holds a text.
func (w *window) awaitText(selector, text string) {
	w.t.Helper()
	w.await(fmt.Sprintf("%s says %q", selector, text), fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, text))
}

// text is what the page says.
func (w *window) text() string {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}

func (w *window) click(selector string) {
	w.t.Helper()
	w.await(selector+" can be clicked", fmt.Sprintf("document.querySelector(%q) && !document.querySelector(%q).disabled", selector, selector))
	w.do(fmt.Sprintf("document.querySelector(%q).scrollIntoView({block: 'center'})", selector))
	w.run(chromedp.Click(chromedp.CSS(selector)))
}

// fill writes into a field as a person does.
func (w *window) fill(selector, text string) {
	w.t.Helper()
	w.do(fmt.Sprintf("document.querySelector(%q).value = ''", selector))
	w.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// confirm presses the dialog's button, and waits until it has closed.
func (w *window) confirm() {
	w.t.Helper()
	w.click("dialog button[type=submit]")
	w.await("the dialog has closed", "!document.querySelector('dialog')")
}

// visit goes to a page of the dashboard.
func (w *window) visit(hash string) {
	w.t.Helper()
	w.do(fmt.Sprintf("location.hash = %q", hash))
}

// reload loads the page anew, and waits until the old one is gone: what it still says must not be taken for the new one's.
func (w *window) reload() {
	w.t.Helper()
	w.do("window.before = true; location.reload()")
	w.await("the page is loaded anew", "!window.before && document.readyState === 'complete'")
}

func (w *window) visitJob(id string) {
	w.t.Helper()
	w.visit("#/jobs/main/" + id)
	w.await("the job's page is there", "document.querySelector('#verdict')")
}

// picture leaves a screenshot of the whole page for people.
func (w *window) picture(name string) {
	dir := os.Getenv("BACKFLEET_SCREENSHOTS")
	if dir == "" {
		dir = "screenshots"
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	_, _ = chromedp.Run(ctx, chromedp.Evaluate[bool]("scrollTo(0, 0); true"))
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err = errors.Join(err, os.MkdirAll(dir, 0o755)); err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".png"), png, 0o644)
	}
	if err != nil {
		w.t.Logf("no screenshot %s: %v", name, err)
	}
}

func exceptionText(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		return d.Exception.Description
	}
	return d.Text
}
