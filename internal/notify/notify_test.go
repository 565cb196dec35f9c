package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "canary-secret-of-32-bytes-or-so"

var when = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// answers is a server that fails first.
func answers(t *testing.T, codes ...int) (url string, got func() []*http.Request, bodies func() []string) {
	t.Helper()
	var requests []*http.Request
	var texts []string
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests, texts = append(requests, r), append(texts, string(body))
		i := int(n.Add(1)) - 1
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(codes[min(i, len(codes)-1)])
	}))
	t.Cleanup(s.Close)
	return s.URL + "/hook/canary-path", func() []*http.Request { return requests }, func() []string { return texts }
}

func TestAWebhookIsSignedAndTriedAgain(t *testing.T) {
	url, got, bodies := answers(t, 503, 429, 200)
	r, err := Webhook(url, secret)
	require.NoError(t, err)
	defer r.Close()
	m := Message{Version: 1, ID: "01J", Kind: State, At: when, Database: "main", Text: "job norm is complete"}
	require.NoError(t, r.Send(t.Context(), m))
	require.Len(t, got(), 3)
	for i, q := range got() {
		require.Equal(t, "01J", q.Header.Get(IDHeader))
		var at int64
		var sum string
		_, err := fmt.Sscanf(strings.Replace(q.Header.Get(SignatureHeader), ",v1=", " ", 1), "t=%d %s", &at, &sum)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), time.Unix(at, 0), time.Minute)
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = fmt.Fprintf(mac, "%d.%s", at, bodies()[i])
		require.Equal(t, hex.EncodeToString(mac.Sum(nil)), sum)
	}
	var sent Message
	require.NoError(t, json.Unmarshal([]byte(bodies()[2]), &sent))
	require.Equal(t, m, sent)
}

func TestARefusalIsNotRepeatedAndTellsNoSecret(t *testing.T) {
	for _, code := range []int{404, 302} {
		url, got, _ := answers(t, code)
		r, err := Webhook(url, secret)
		require.NoError(t, err)
		err = r.Send(t.Context(), Message{ID: "1"})
		require.ErrorContains(t, err, fmt.Sprint(code))
		require.NotContains(t, err.Error(), "canary")
		require.Len(t, got(), 1, "and nobody is led elsewhere")
		r.Close()
	}
	r, err := Slack("http://127.0.0.1:1/canary-path")
	require.NoError(t, err)
	err = r.Send(t.Context(), Message{})
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "canary")
	require.NotContains(t, fmt.Sprintf("%v %+v", r, r), "canary")
	for _, wrong := range []string{"", "hooks.example.com", "ftp://x/canary", "http://canary\x7f"} {
		_, err := Slack(wrong)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
	_, err = Webhook("https://hooks.example.com", "short")
	require.ErrorContains(t, err, "16 bytes")
}

func TestWhatIsTold(t *testing.T) {
	j := job.Job{ID: "01J", Name: "norm", Database: "main", State: job.Running, Spec: job.Spec{Table: "public.users"}}
	j.Limits.OnError.QuarantineRows = 100
	report := job.Report{Verified: true, Rows: 1234567, Duration: job.Duration(61 * time.Second), RowsPerSec: 20238.8, Quarantined: make([]job.Quarantined, 2), Skipped: make([]ranges.Span, 1), Lost: []job.Loss{{Signal: "lag"}}}
	for want, m := range map[string]Message{
		"job norm was paused by ann (lunch)": Of("main", job.Event{Action: "pause", By: "ann", Detail: map[string]any{"old": "running", "new": "paused", "reason": "lunch"}}, &j, nil),
		"job norm is complete with errors: 1,234,567 rows in 1m1s, 20,238 a second, verified, 2 rows in quarantine, 1 range skipped": Of("main",
			job.Event{Action: "end", By: "backfleet", Detail: map[string]any{"new": "complete_with_errors"}}, &j, &report),
		"job norm awaits the approval of another person by ann": Of("main", job.Event{Action: "submit", By: "ann", Detail: map[string]any{"new": "awaiting_approval"}}, &j, nil),
		"database main is held by ann until 2026-01-02T03:04:05Z (password=***)": Of("main", job.Event{Action: "hold", By: "ann",
			Detail: map[string]any{"new": "2026-01-02T03:04:05Z", "reason": "password=canary"}}, nil, nil),
		"job norm is running":                               Entered(j, when),
		"job norm has set aside 3 rows, of 100 that it may": SetAside(j, 3, when),
		"database main is held for 15m0s: lag of s1":        Stands("main", when, when.Add(15*time.Minute), "lag of s1"),
		"database main is held no more":                     GoesOn("main", when),
	} {
		require.Equal(t, want, m.Text)
	}
	require.Subset(t, Events(), []string{"end", "pause", "hold"})
}

func TestSlackShape(t *testing.T) {
	url, _, bodies := answers(t, 200)
	r, err := Slack(url)
	require.NoError(t, err)
	defer r.Close()
	j := job.Job{ID: "01J", Name: "norm", Spec: job.Spec{Table: "public.users"}}
	m := Of("main", job.Event{At: when, Action: "pause", By: "<!channel> & co"}, &j, nil)
	m.URL = "https://backfleet.example.com/#/jobs/01J"
	require.NoError(t, r.Send(t.Context(), m))
	require.JSONEq(t, `{"text":"job norm was paused by &lt;!channel&gt; &amp; co","blocks":[
		{"type":"section","text":{"type":"mrkdwn","text":"job norm was paused by &lt;!channel&gt; &amp; co"}},
		{"type":"context","elements":[{"type":"mrkdwn","text":"database main · table public.users · 01J · 2026-01-02 03:04:05Z · <https://backfleet.example.com/#/jobs/01J|dashboard>"}]}]}`, bodies()[0])

	// Slack refuses a section of more than 3000 characters, and a refused message is lost.
	require.NoError(t, r.Send(t.Context(), Of("main", job.Event{At: when, Action: "fail", Detail: map[string]any{"reason": strings.Repeat("&ü", 4000)}}, &j, nil)))
	var got struct {
		Blocks []struct{ Text struct{ Text string } }
	}
	require.NoError(t, json.Unmarshal([]byte(bodies()[1]), &got))
	require.LessOrEqual(t, utf8.RuneCountInString(got.Blocks[0].Text.Text), 3000)
	require.Contains(t, got.Blocks[0].Text.Text, "job norm failed (&amp;ü")
}
