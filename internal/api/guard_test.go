package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// ask sends a request as a browser or another client would.
func ask(t *testing.T, s http.Handler, method, path, token, from string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://backfleet.test:8080"+path, strings.NewReader("{}"))
	r.RemoteAddr = from
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestAPageOfAnotherOriginIsRefused(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.server.PublicURL = "https://backfleet.example.com"
	for _, c := range []struct {
		path    string
		headers []string
		code    int
	}{
		{"/v1/jobs/norm/pause", nil, 200},
		{"/v1/jobs/norm/pause", []string{"Origin", "http://backfleet.test:8080"}, 200},
		{"/v1/jobs/norm/pause", []string{"Origin", "https://backfleet.example.com", "Sec-Fetch-Site", "cross-site"}, 200},
		{"/v1/jobs/norm/pause", []string{"Origin", "https://evil.example"}, 403},
		{"/v1/jobs/norm/pause", []string{"Origin", "http://backfleet.test:8081"}, 403},
		{"/v1/jobs/norm/pause", []string{"Origin", "null"}, 403},
		{"/v1/jobs/norm/pause", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"/v1/jobs/norm/pause", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"/v1/jobs/norm/pause", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"/v1/jobs", []string{"Origin", "https://evil.example"}, 403},
		{"/v1/jobs", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{"/openapi.json", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		{"/openapi.json", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"/metrics", []string{"Origin", "https://evil.example"}, 403},
	} {
		method := http.MethodGet
		if strings.HasSuffix(c.path, "pause") {
			method = http.MethodPost
		}
		got := ask(t, b.server, method, c.path, "op-token", "192.0.2.1:99", c.headers...)
		require.Equal(t, c.code, got.Code, "%s %v", c.path, c.headers)
		require.Empty(t, got.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "nosniff", got.Header().Get("X-Content-Type-Options"))
	}
	require.Equal(t, "resume", func() string {
		_, err := b.client.Resume(t.Context(), "norm")
		require.NoError(t, err)
		return b.main.last().Action
	}())
	_ = ask(t, b.server, http.MethodPost, "/v1/jobs/norm/pause", "op-token", "192.0.2.1:99", "Origin", "https://evil.example")
	e := b.main.last()
	require.Equal(t, "refused", e.Action)
	require.Equal(t, "olga", e.By)
	require.Contains(t, e.Detail["reason"], "another origin")
	got := ask(t, b.server, http.MethodPost, "/v1/jobs/norm/pause", "no-token", "192.0.2.1:99", "Origin", "https://evil.example")
	require.Equal(t, http.StatusForbidden, got.Code)
}

func TestRequestsThatComeTooFastAreRefused(t *testing.T) {
	b := setup(t)
	b.submit(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	b.server.rates = newRates(2, clock)
	get := func(token, from string) *httptest.ResponseRecorder {
		return ask(t, b.server, http.MethodGet, "/v1/jobs", token, from)
	}
	for i := range 4 { // two seconds' worth at once
		require.Equal(t, http.StatusOK, get("view-token", fmt.Sprintf("192.0.2.%d:1", i)).Code)
	}
	slow := get("view-token", "192.0.2.9:1")
	require.Equal(t, http.StatusTooManyRequests, slow.Code)
	require.Equal(t, "application/problem+json", slow.Header().Get("Content-Type"))
	wait, err := strconv.Atoi(slow.Header().Get("Retry-After"))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, get("op-token", "192.0.2.9:1").Code, "another's token")
	now = now.Add(time.Duration(wait) * time.Second)
	require.Equal(t, http.StatusOK, get("view-token", "192.0.2.9:1").Code)

	for range 10 { // whoever tries tokens
		require.Equal(t, http.StatusUnauthorized, get("guess", "192.0.2.7:1").Code)
	}
	require.Equal(t, http.StatusTooManyRequests, get("guess", "192.0.2.7:2").Code)
	require.Equal(t, http.StatusOK, get("root-token", "192.0.2.7:3").Code, "a good token from there is served")

	now = now.Add(time.Minute)
	codes := map[int]int{}
	for i := range 40 { // an address as a whole, one of IPv6 by its /64
		codes[get([]string{"view-token", "op-token", "root-token"}[i%3], fmt.Sprintf("[2001:db8::%x]:1", i)).Code]++
	}
	require.Positive(t, codes[http.StatusOK])
	require.LessOrEqual(t, codes[http.StatusOK], 16)
	require.Equal(t, http.StatusOK, ask(t, b.server, http.MethodGet, "/readyz", "", "[2001:db8::1]:1").Code, "health is never limited")
	_, err = b.client.Jobs(t.Context(), "")
	require.NoError(t, err, "nor is this process")

	many := newLimits(1, 1, clock)
	for i := range mostKept * 2 {
		many.take(strconv.Itoa(i))
	}
	require.LessOrEqual(t, len(many.all), mostKept, "a flood from everywhere does not fill the memory")
}

// However many ask at once, only some of the connections that the coordinator needs are taken.
func TestRequestsWaitForTheirTurn(t *testing.T) {
	turns := make(chan struct{}, 2)
	ctx := context.WithValue(t.Context(), addressKey{}, "192.0.2.1")
	var busy, most atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := atOnce(ctx, turns, func() (*int, error) {
				n := busy.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Millisecond)
				busy.Add(-1)
				return new(int), nil
			})
			assert.NoError(t, err)
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(2))
	turns <- struct{}{}
	turns <- struct{}{}
	_, err := atOnce(t.Context(), turns, func() (*int, error) { return new(int), nil })
	require.NoError(t, err, "one of this process does not wait")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = atOnce(gone, turns, func() (*int, error) { return new(int), nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestAReadingThatHangsGivesItsTurnBack(t *testing.T) {
	b := setup(t)
	b.server.Databases[0].Ledger = hung{b.main}
	b.server.readMost = 50 * time.Millisecond
	code, _, body := b.do(t, http.MethodGet, "/v1/jobs/norm?database=main", "view-token", "")
	require.Equal(t, http.StatusServiceUnavailable, code, body)
	require.Contains(t, body, "did not answer in time")
	require.Empty(t, b.server.atOnce)
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	b := setup(t)
	code, kind, body := b.do(t, http.MethodPost, "/v1/jobs", "root-token", strings.Repeat("#", 1<<20+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, code, body)
	require.Equal(t, "application/problem+json", kind)
	require.Empty(t, b.main.jobs)
}

// A change that was refused is on record: who asked for what, and why not. What nobody known asked, or only read, is not.
func TestRefusalsAreOnRecord(t *testing.T) {
	b := setup(t)
	j := b.submit(t)
	_, err := b.client.If(9).Pause(t.Context(), "norm", "")
	_ = problem(t, err, Stale)
	require.Equal(t, map[string]any{"operation": "pause", "status": 412, "reason": `job "norm" was changed meanwhile (revision 1, you saw 9); read it again`}, b.main.last().Detail)
	require.Equal(t, "ann@host", b.main.last().By)
	for _, c := range []struct {
		method, path, token, body string
		by, operation             string
		status                    int
	}{
		{http.MethodPost, "/v1/jobs/norm/pause", "view-token", "{}", "vera", "pause", 403},
		{http.MethodPatch, "/v1/jobs/main?database=main", "view-token", "{}", "", "", 405},
		{http.MethodPost, "/v1/databases/main/hold", "view-token", `{"for":"1m"}`, "vera", "hold", 403},
		{http.MethodPost, "/v1/jobs", "op-token", spec, "olga", "submit", 403},
		{http.MethodPost, "/v1/jobs/norm/pause", "no-token", "{}", "", "", 401},
		{http.MethodPost, "/v1/jobs/norm/skip", "op-token", `{"range":-1}`, "", "", 422},
		{http.MethodPost, "/v1/plans", "op-token", spec, "", "", 403},
		{http.MethodPost, "/v1/jobs/none/pause", "op-token", "{}", "", "", 404},
	} {
		before := len(b.main.events)
		code, _, body := b.do(t, c.method, c.path, c.token, c.body)
		if c.status != 405 {
			require.Equal(t, c.status, code, "%s %s: %s", c.method, c.path, body)
		}
		if c.by == "" {
			require.Len(t, b.main.events, before, "%s %s", c.method, c.path)
			continue
		}
		require.Len(t, b.main.events, before+1, "%s %s", c.method, c.path)
		e := b.main.last()
		require.Equal(t, [4]any{"refused", c.by, c.operation, c.status}, [4]any{e.Action, e.By, e.Detail["operation"], e.Detail["status"]})
	}
	b.main.set(j.ID, func(j *job.Job) { j.State = job.Complete })
	code, _, _ := b.do(t, http.MethodPost, "/v1/jobs/norm/pause", "op-token", "{}")
	require.Equal(t, http.StatusConflict, code)
	require.Equal(t, j.ID, b.main.last().Job)

	before := len(b.main.events)
	for range 100 { // a flood of one person
		_, _, _ = b.do(t, http.MethodPost, "/v1/jobs/norm/pause", "view-token", "{}")
	}
	require.Less(t, len(b.main.events)-before, refusalsBurst+1)
}

// Two persons: who approves has a token of their own, and is not who submitted.
func TestApproval(t *testing.T) {
	b := setup(t)
	for name, who := range map[string]Identity{"ann-token": {Name: "ann", Role: Admin, Person: true}, "bob-token": {Name: "bob", Role: Admin, Person: true}, "olga-token": {Name: "olga", Role: Operator, Person: true}} {
		b.server.Tokens.Add(name, who)
	}
	code, _, body := b.do(t, http.MethodPost, "/v1/jobs", "ann-token", spec)
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "ann", b.main.jobs[0].SubmittedAs, "whoever she says that she is")
	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.State, j.PlanHash = job.AwaitingApproval, "h1" })
	for _, c := range []struct {
		token, hash, now string
		code             int
		why              string
	}{
		{"root-token", "h1", "h1", 403, "not known who asks"},
		{"olga-token", "h1", "h1", 403, "needs admin"},
		{"ann-token", "h1", "h1", 403, "another person must approve"},
		{"bob-token", "h2", "h1", 412, "read it again"},
		{"bob-token", "h1", "h3", 409, "has changed since the submit"},
		{"bob-token", "h1", "h1", 200, `"planning"`},
	} {
		b.main.hash = c.now
		code, _, body := b.do(t, http.MethodPost, "/v1/jobs/norm/approve", c.token, `{"plan_hash":"`+c.hash+`"}`)
		require.Equal(t, c.code, code, body)
		require.Contains(t, body, c.why)
	}
	require.Equal(t, "bob", b.main.last().By)
	_, err := b.client.Approve(t.Context(), "norm", "h1")
	require.Contains(t, problem(t, err, Forbidden).Hint, "tokens file")

	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.ApprovedAs = "bob" })
	_, err = b.client.SetLimits(t.Context(), "norm", map[string]string{"throttle.checks": `[{name: x, sql: "select 1", hard: 3}]`})
	require.Contains(t, problem(t, err, Conflict).Detail, "approved without that check")
}
