package surface

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// Secrets are planted wherever Backfleet takes one. Whatever it then says, in an answer, a log, a metric, a message, its ledger or the
// process list, holds none of them: where all goes well, and where it does not.
func TestNoSecretIsTold(t *testing.T) {
	const (
		password = "canary-password-7f3a"
		natsPass = "canary-nats-token-91bc"
		hook     = "canary-hook-path-55de"
		slack    = "canary-slack-path-02aa"
		signing  = "canary-signing-secret-c41e"
		gone     = "canary-other-password-e88d"
	)
	told := ""
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 64<<10)
		n, _ := r.Body.Read(body)
		told += string(body[:n])
		for _, v := range r.Header {
			told += strings.Join(v, " ")
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(failing.Close)
	nats := harness.NATS(t, harness.WithNATSConfig(`authorization { token: "`+natsPass+`" }`))
	dir := t.TempDir()
	natsToken := filepath.Join(dir, "nats.token")
	require.NoError(t, os.WriteFile(natsToken, []byte(natsPass+"\n"), 0o600))
	slackFile := filepath.Join(dir, "slack")
	require.NoError(t, os.WriteFile(slackFile, []byte("http://127.0.0.1:1/"+slack+"\n"), 0o600))
	s := newSite(t, []string{"--nats-url", nats.URL(), "--nats-token-file", natsToken},
		"BACKFLEET_NOTIFY_WEBHOOK="+failing.URL+"/"+hook, "BACKFLEET_NOTIFY_WEBHOOK_SECRET="+signing, "BACKFLEET_NOTIFY_SLACK_FILE="+slackFile)
	dsn, err := url.Parse(s.db.DSN)
	require.NoError(t, err)
	dsn.User = url.UserPassword(dsn.User.Username(), password)
	for i, kv := range s.env {
		if strings.HasPrefix(kv, "BACKFLEET_DATABASE_MAIN=") {
			s.env[i] = "BACKFLEET_DATABASE_MAIN=" + dsn.String()
		}
	}
	viewer, admin := s.token("vera", "viewer"), s.token("ann", "admin")
	canaries := []string{"canary", viewer, admin}

	first, a := s.coordinator("--api-tokens", s.tokens())
	canaries = append(canaries, a.token)
	worker := s.member("worker", "--slots", "2", "--listen", "127.0.0.1:0")
	for _, p := range []*harness.Process{first, worker} {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
		require.NoError(t, err)
		s.said = append(s.said, func() string { return string(line) })
	}
	answers := ""
	ask := func(token, method, path, body string) string {
		_, answer := a.as(token).ask(method, path, body, nil)
		answers += answer + "\n"
		return answer
	}
	spec := s.file("job.yaml", usersSpec)
	s.ok("plan", spec)
	s.ok("submit", spec)
	st := a.awaitJob("users-norm", job.CompleteWithErrors)
	// A person who pastes a secret where words belong.
	pasted := fmt.Sprintf(`{"reason":"psql postgres://app:%s@db/app password=%s token: %s"}`, password, gone, viewer)
	ask(admin, http.MethodPost, "/v1/jobs/users-norm/retry", "")
	ask(admin, http.MethodPost, "/v1/jobs/users-norm/pause", pasted)
	ask(viewer, http.MethodPost, "/v1/jobs/users-norm/pause", pasted)
	ask(admin, http.MethodPost, "/v1/databases/main/hold", strings.Replace(pasted, "{", `{"for":"1s",`, 1))
	for path := range documentOf(t, a).Paths {
		path = strings.NewReplacer("{job}", string(st.ID), "{database}", "main", "{app}", "ghost", "{type}", "postgresql").Replace(path)
		for _, token := range []string{viewer, admin, "no-" + admin, ""} {
			ask(token, http.MethodGet, path, "")
			ask(token, http.MethodPost, path, "{")
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/openapi.json", "/nothing?token=" + viewer} {
		ask("", http.MethodGet, path, "")
	}
	ask(admin, http.MethodPost, "/v1/plans", strings.Replace(usersSpec, "database: main", "database: postgres://u:"+password+"@h/db", 1))
	if port := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(worker.Output()); port != "" {
		w := a
		w.url = "http://" + port
		_, answer := w.get("/metrics")
		answers += answer
	}

	// What cannot be reached, or is wrong.
	s.env = append(s.env, "BACKFLEET_DATABASE_GONE=postgres://u:"+gone+"@127.0.0.1:1/x")
	s.run("status")
	s.run("status", "-o", "json")
	s.run("doctor")
	s.run("db", "init", "gone")
	s.run("coordinator", "--nats-url", nats.URL(), "--nats-token-file", slackFile)
	s.run("coordinator", "--nats-url", "nats://u:"+gone+"@127.0.0.1:1")
	s.run("status", "--api", a.url, "--api-token-file", natsToken)
	s.run("status", "--api", "http://127.0.0.1:1", "--api-token-file", natsToken)
	s.env = append(s.env, "BACKFLEET_DATABASE_MAIN=host=127.0.0.1 port=x password="+gone, "BACKFLEET_NOTIFY_SLACK="+gone)
	s.run("status")
	s.run("coordinator", "--nats-url", nats.URL())

	s.await("a message is tried in vain", func() error {
		if !strings.Contains(first.Output(), "message not delivered") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	require.NoError(t, first.Term())
	_, err = first.Wait(patience)
	require.NoError(t, err)
	require.NoError(t, worker.Term())
	_, err = worker.Wait(patience)
	require.NoError(t, err)
	for what, text := range map[string]string{"an answer of the API": answers, "a message": told, "the ledger": s.dump(), "a NATS message": natsFiles(t, nats)} {
		requireNone(t, what, text, canaries)
	}
	for _, text := range s.said {
		requireNone(t, "the output of a process", text(), canaries)
	}
	require.Contains(t, answers, "users-norm")
	require.Contains(t, told, "v1=", "the webhook was tried")
	kept, err := os.ReadFile(s.tokens())
	require.NoError(t, err)
	requireNone(t, "the tokens file", string(kept), canaries)
	sum := sha256.Sum256([]byte(admin))
	require.Contains(t, string(kept), hex.EncodeToString(sum[:]))
}

func documentOf(t *testing.T, a api) (doc document) {
	t.Helper()
	_, raw := a.get("/openapi.json")
	require.NoError(t, json.Unmarshal([]byte(raw), &doc))
	return doc
}

// requireNone fails where a text holds a secret, and shows where.
func requireNone(t *testing.T, what, text string, canaries []string) {
	t.Helper()
	for _, c := range canaries {
		if i := strings.Index(text, c); i >= 0 {
			t.Errorf("%s tells a secret: ...%q...", what, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// dump is every table of the ledger as text.
func (s *site) dump() (all string) {
	s.t.Helper()
	for _, table := range []string{"jobs", "ranges", "relations", "quarantine", "events", "samples", "throttle", "brake", "requests", "notices", "policy", "leadership", "replicas"} {
		var text *string
		require.NoError(s.t, s.db.Pool.QueryRow(s.t.Context(), "SELECT string_agg(x::text, E'\n') FROM backfleet."+table+" x").Scan(&text))
		if text != nil {
			all += *text + "\n"
		}
	}
	return all
}

// natsFiles is what a NATS server keeps on its disk.
func natsFiles(t *testing.T, n *harness.NATSServer) (all string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(n.StoreDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all += string(raw)
		return err
	}))
	return all
}
