package surface

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/notify"
	"github.com/backfleet/backfleet/test/harness"
)

// inbox is a real server that people are told at; it fails first.
type inbox struct {
	mu    sync.Mutex
	fails int
	took  []notify.Message
	slack []string
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if b.fails > 0 {
		b.fails--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/slack") {
		b.slack = append(b.slack, string(body))
		return
	}
	var m notify.Message
	if json.Unmarshal(body, &m) != nil || r.Header.Get(notify.SignatureHeader) == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.took = append(b.took, m)
}

// told waits for a message and returns it; it must have come once.
func (b *inbox) told(s *site, words ...string) (m notify.Message) {
	s.t.Helper()
	s.await("told of "+strings.Join(words, " "), func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		n := 0
		all := ""
		for _, took := range b.took {
			all += took.Text + "\n"
			has := true
			for _, w := range words {
				has = has && strings.Contains(took.Text, w)
			}
			if has {
				m, n = took, n+1
			}
		}
		if n != 1 {
			return fmt.Errorf("%d times among\n%s", n, all)
		}
		return nil
	})
	return m
}

// People are told once what becomes of a job, by a receiver that fails first, and over a change of leader.
func TestPeopleAreTold(t *testing.T) {
	b := &inbox{fails: 5}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	nats := harness.NATS(t)
	s := newSite(t, []string{"--nats-url", nats.URL()}, "BACKFLEET_NOTIFY_WEBHOOK="+server.URL+"/hook",
		"BACKFLEET_NOTIFY_WEBHOOK_SECRET=0123456789abcdef", "BACKFLEET_NOTIFY_SLACK="+server.URL+"/slack")
	first, a := s.coordinator("--notify-held-after", "1s", "--public-url", "https://backfleet.example.com")
	_, second := s.coordinator("--notify-held-after", "1s", "--public-url", "https://backfleet.example.com")
	s.member("worker", "--slots", "2")

	s.ok("throttle", "set", "main", "max_rows_per_second=100")
	s.ok("submit", s.file("job.yaml", usersSpec))
	submitted := b.told(s, "job users-norm was submitted")
	require.Equal(t, "https://backfleet.example.com", submitted.URL)
	require.Equal(t, "public.users", submitted.Job.Table)
	b.told(s, "job users-norm is running")
	b.told(s, "has set aside 1 row, of 100")
	s.ok("throttle", "hold", "main", "--for", "5m", "--reason", "incident 4711")
	b.told(s, "database main is held by", "incident 4711")
	b.told(s, "database main is held for")

	require.NoError(t, first.Kill()) // in the middle of a hold
	s.await("another leads", func() error {
		if code, body := second.get("/v1/databases/main/throttle"); code != http.StatusOK || !strings.Contains(body, `"go":`) {
			return fmt.Errorf("%d: %s", code, body)
		}
		return nil
	})
	s.ok("pause", "users-norm", "--reason", "lunch")
	b.told(s, "was paused by", "(lunch)")
	s.ok("resume", "users-norm")
	s.ok("throttle", "release", "main")
	b.told(s, "database main is free again")
	b.told(s, "database main is held no more")
	s.ok("throttle", "set", "main", "max_rows_per_second=0")
	second.awaitJob("users-norm", job.CompleteWithErrors)
	end := b.told(s, "job users-norm is complete with errors", "1,999 rows", "1 row in quarantine")
	require.Equal(t, int64(rows-1), end.Report.Rows)
	require.True(t, end.Report.Verified)
	for _, once := range [][]string{{"was submitted"}, {"is running"}, {"is held by"}, {"is held for"}, {"set aside"}} {
		b.told(s, once...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := map[string]bool{}
	for _, m := range b.took {
		require.False(t, ids[m.ID], m.Text)
		ids[m.ID] = true
	}
	require.Zero(t, b.fails)
	require.NotEmpty(t, b.slack)
	_ = a
}
