package signals_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func httpCheck(t *testing.T, url string) *signals.HTTPCheck {
	t.Helper()
	c, err := signals.NewHTTPCheck("gate", url, time.Second)
	require.NoError(t, err)
	return c
}

func TestAnHTTPCheckFires(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/check/app" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, "mysql lag\x1b[31m 7 s\nsecond line")
	}))
	defer server.Close()

	rule := throttle.Verdict(time.Second)
	rule.Blind = 200 * time.Millisecond
	w := watching(t, one("gate", rule), httpCheck(t, server.URL+"/check/app"))
	w.until(t, "go", freed)
	status.Store(http.StatusTooManyRequests)
	o := w.until(t, "stop", hard)
	require.Equal(t, "gate says stop (mysql lag [31m 7 s)", o.reasons[0].Text)
	status.Store(http.StatusOK)
	w.until(t, "go again", freed)
	status.Store(http.StatusInternalServerError)
	o = w.until(t, "an error stops the fleet", hard)
	require.Contains(t, o.reasons[0].Text, "HTTP check gate: GET "+server.URL+"/check/app: answered 500, which is neither go (200) nor stop (429)")
}

func TestAnHTTPCheckThatIsDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	r := httpCheck(t, url+"/check?token=secret").Read(t.Context())
	require.ErrorContains(t, r[0].Err, "HTTP check gate: GET "+url+"/check: ")
	require.ErrorContains(t, r[0].Err, "connection refused")
	require.NotContains(t, r[0].Err.Error(), "secret")
}

func TestAnHTTPCheckThatHangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	began := time.Now()
	r := httpCheck(t, server.URL).Read(t.Context())
	require.EqualError(t, r[0].Err, "HTTP check gate: GET "+server.URL+": no answer within 1s")
	require.GreaterOrEqual(t, time.Since(began), time.Second)
}

func TestAnHTTPCheckFollowsNoRedirectElsewhere(t *testing.T) {
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/go", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	}))
	defer server.Close()
	require.ErrorContains(t, httpCheck(t, server.URL+"/elsewhere").Read(t.Context())[0].Err, "redirects to another host, which is not followed")
	require.False(t, reached.Load())
	require.ErrorContains(t, httpCheck(t, server.URL+"/loop").Read(t.Context())[0].Err, "redirects too often")
	require.NoError(t, httpCheck(t, server.URL+"/here").Read(t.Context())[0].Err)
}

func TestURLsThatAreRefused(t *testing.T) {
	for url, why := range map[string]string{
		"gate:8080/check":          "is not an http or https URL; write http://host/path",
		"/check":                   "is not an http or https URL; write http://host/path",
		"ftp://gate/":              "is not an http or https URL; write http://host/path",
		"http://":                  "is not an http or https URL; write http://host/path",
		"http://user:pass@gate/":   "holds credentials; leave them out, for a spec is no place for secrets",
		"http://u:secret@ga te/%z": "is not an URL; write http://host/path",
	} {
		_, err := signals.NewHTTPCheck("gate", url, time.Second)
		require.EqualError(t, err, why, url)
		_, err = signals.NewPrometheusCheck("gate", url, "up", time.Second)
		require.EqualError(t, err, why, url)
	}
	_, err := signals.NewPrometheusCheck("gate", "http://prometheus", "", time.Second)
	require.EqualError(t, err, "has no query; write one that gives one number")

	bare, err := signals.NewPrometheusCheck("gate", "http://127.0.0.1:1", "up", time.Second)
	require.NoError(t, err)
	require.ErrorContains(t, bare.Read(t.Context())[0].Err, "GET http://127.0.0.1:1/api/v1/query: ")
}

// prometheus answers as the query API does.
func prometheus(t *testing.T, answer func(query string) (int, string)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/prefix/api/v1/query" {
			http.NotFound(w, r)
			return
		}
		status, body := answer(r.FormValue("query"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/prefix"
}

func vector(values ...string) string {
	var results []string
	for _, v := range values {
		results = append(results, fmt.Sprintf(`{"metric":{"instance":"db1"},"value":[1435781451.781,%q]}`, v))
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(results, ",") + `]}}`
}

func TestAPrometheusCheckFires(t *testing.T) {
	var value atomic.Value
	value.Store("800")
	const query = `sum(rate(node_disk_io{device="sda"}[1m])) > 0`
	url := prometheus(t, func(q string) (int, string) {
		if q != query {
			return http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"another query"}`
		}
		return http.StatusOK, vector(value.Load().(string))
	})
	c, err := signals.NewPrometheusCheck("device", url, query, time.Second)
	require.NoError(t, err)
	rule := throttle.Check(time.Second)
	rule.Soft, rule.Hard, rule.Hysteresis, rule.Unit = 2000, 3000, false, "operations/s"
	w := watching(t, one("device", rule), c)
	w.until(t, "under the budget", freed)
	value.Store("2500.5")
	w.until(t, "near it", soft)
	value.Store("+Inf")
	w.until(t, "over it", hard)
	value.Store("3e3")
	o := w.until(t, "at it", func(o outcome) bool { return o.hard && o.reasons[0].Observed == 3000 })
	require.Equal(t, "device 3000 operations/s at hard limit 3000 operations/s", o.reasons[0].Text)
}

func TestAnswersOfPrometheus(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, fail string
		value      float64
	}{
		{200, vector("1.25"), "", 1.25},
		{200, `{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"-3"]}}`, "", -3},
		{200, vector(), "the query has 0 results; write one that has exactly one, as with sum() or max()", 0},
		{200, vector("1", "2"), "the query has 2 results; write one that has exactly one, as with sum() or max()", 0},
		{200, vector("NaN"), `the value "NaN" is not a number`, 0},
		{200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, "the query gives a matrix; write one that gives a scalar or a vector", 0},
		{400, `{"status":"error","errorType":"bad_data","error":"parse error\nat char 3"}`, "the query fails: parse error at char 3", 0},
		{503, "unavailable", "answered 503", 0},
		{200, "<html>", "the answer is not one of Prometheus' query API", 0},
		{200, `{"status":"success","data":{"resultType":"scalar","result":[1435781451.781]}}`, "the answer is not one of Prometheus' query API", 0},
		{200, `{"status":"success","data":{"resultType":"vector","result":{}}}`, "the answer is not one of Prometheus' query API", 0},
		{200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`, "the answer is not one of Prometheus' query API", 0},
	} {
		url := prometheus(t, func(string) (int, string) { return c.status, c.body })
		check, err := signals.NewPrometheusCheck("p", url, "up", time.Second)
		require.NoError(t, err)
		r := check.Read(t.Context())[0]
		if c.fail == "" {
			require.NoError(t, r.Err, c.body)
			require.InDelta(t, c.value, r.Value, 0)
			continue
		}
		require.EqualError(t, r.Err, "check p of Prometheus: GET "+url+"/api/v1/query: "+c.fail, c.body)
	}
}
