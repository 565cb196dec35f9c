package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

func sumOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestTokensFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	text := "# staff\n\nviewer vera " + sumOf("test") + "\noperator olga " + sumOf("olga") + " databases=main,audit made=2026-01-01T00:00:00Z expires=2026-02-01T00:00:00Z\n" +
		"admin ann " + sumOf("old") + " revoked=2026-01-02T00:00:00Z\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	tokens := &Tokens{Now: func() time.Time { return now }}
	require.NoError(t, tokens.Watch(path, zap.NewNop()))

	who, err := tokens.Who("test")
	require.NoError(t, err)
	require.Equal(t, Identity{Name: "vera", Role: Viewer, Person: true}, who, "a line of before")
	who, err = tokens.Who("olga")
	require.NoError(t, err)
	require.True(t, who.may("main"))
	require.False(t, who.may("billing"))
	for _, unknown := range []string{"Test", "", sumOf("test")} {
		_, err = tokens.Who(unknown)
		require.ErrorIs(t, err, ErrUnknownToken)
	}
	_, err = tokens.Who("old")
	require.ErrorIs(t, err, ErrRevoked)
	now = now.Add(24 * time.Hour)
	_, err = tokens.Who("olga")
	require.ErrorIs(t, err, ErrExpired, "at that very moment")

	for line, why := range map[string]string{
		"viewer vera": "2 fields", "root a b": "not a role", "viewer a xyz": "not a SHA-256",
		"viewer a " + sumOf("x") + " database=main":    "not known",
		"viewer a " + sumOf("x") + " expires=tomorrow": "is no time",
		"viewer a " + sumOf("x") + " databases=":       "a name is empty",
	} {
		_, err := ReadTokenFile(strings.NewReader("# one\n" + line))
		require.ErrorContains(t, err, why)
		require.ErrorContains(t, err, "line 2")
	}
}

// A token that is made or revoked counts from the next request on; a file that is broken changes nothing.
func TestTokensFileIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	secret, first := NewToken(Identity{Name: "olga", Role: Operator}, time.Now(), time.Time{})
	require.Regexp(t, `^bf_[A-Za-z0-9_-]{43}$`, secret)
	add := func(k Token) {
		require.NoError(t, ChangeTokenFile(path, func(f *TokenFile) error { f.Add(k); return nil }))
	}
	add(first)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NotContains(t, content(t, path), secret)

	tokens := &Tokens{}
	require.NoError(t, tokens.Watch(path, zap.NewNop()))
	_, err = tokens.Who(secret)
	require.NoError(t, err)
	next, second := NewToken(Identity{Name: "olga", Role: Operator, Databases: []string{"main"}}, time.Now(), time.Now().Add(time.Hour))
	add(second)
	_, err = tokens.Who(next)
	require.NoError(t, err)
	_, err = tokens.Who(secret)
	require.NoError(t, err, "two tokens of a name")

	require.NoError(t, os.WriteFile(path, []byte("nonsense\n"), 0o600))
	_, err = tokens.Who(next)
	require.NoError(t, err, "what stood stays")
	require.NoError(t, os.Remove(path))
	_, err = tokens.Who(next)
	require.NoError(t, err, "it is just being replaced")

	add(first)
	add(second)
	require.NoError(t, os.WriteFile(path+".new", nil, 0o600))
	require.ErrorContains(t, ChangeTokenFile(path, func(*TokenFile) error { return nil }), "another change is under way")
	require.NoError(t, os.Remove(path+".new"))
	require.NoError(t, ChangeTokenFile(path, func(f *TokenFile) error {
		require.Equal(t, 2, f.Revoke("olga", time.Now()))
		require.Zero(t, f.Revoke("olga", time.Now()))
		return nil
	}))
	for _, token := range []string{secret, next} {
		_, err = tokens.Who(token)
		require.ErrorIs(t, err, ErrRevoked)
	}
	require.NoError(t, os.Chmod(path, 0o666))
	require.ErrorContains(t, (&Tokens{}).Watch(path, zap.NewNop()), "chmod 600")
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestATokenSeesItsDatabasesOnly(t *testing.T) {
	b := setup(t)
	b.submit(t)
	stored, _, err := checker{b.audit}.Submit(t.Context(), Submission{By: "ada", Spec: job.Spec{Name: "other", Database: "audit"}})
	require.NoError(t, err)
	other := stored.ID
	b.server.Tokens.Add("audit-token", Identity{Name: "ada", Role: Admin, Databases: []string{"audit"}})
	get := func(method, path, body string) (int, string) {
		code, _, answer := b.do(t, method, path, "audit-token", body)
		return code, answer
	}
	code, body := get(http.MethodGet, "/v1/jobs", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, string(other))
	require.NotContains(t, body, `"database":"main"`)
	code, body = get(http.MethodGet, "/v1/databases", "")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, "main")
	before := len(b.main.events)
	for path, want := range map[string]int{
		"GET /v1/jobs?database=main": http.StatusForbidden, "GET /v1/jobs/norm": http.StatusNotFound, "GET /v1/jobs/" + string(b.main.jobs[0].ID): http.StatusNotFound,
		"POST /v1/jobs/norm/pause?database=main": http.StatusForbidden, "POST /v1/jobs/norm/pause": http.StatusNotFound,
		"POST /v1/databases/main/hold": http.StatusForbidden, "GET /v1/databases/main/throttle": http.StatusForbidden, "GET /v1/databases/main/events": http.StatusForbidden,
		"POST /v1/jobs": http.StatusForbidden, "POST /v1/plans": http.StatusForbidden,
	} {
		method, path, _ := strings.Cut(path, " ")
		body := ""
		switch {
		case strings.HasSuffix(path, "jobs") || strings.HasSuffix(path, "plans"):
			body = spec
		case strings.HasSuffix(path, "hold"):
			body = `{"for":"1m"}`
		case method == http.MethodPost:
			body = "{}"
		}
		code, answer := get(method, path, body)
		require.Equal(t, want, code, "%s %s: %s", method, path, answer)
	}
	for _, e := range b.main.events[before:] {
		require.Equal(t, "refused", e.Action, "nothing was changed")
	}
	code, _ = get(http.MethodPost, "/v1/jobs/other/pause", "{}")
	require.Equal(t, http.StatusOK, code)
}

func TestAnEndedTokenSaysSo(t *testing.T) {
	b := setup(t)
	path := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(path, []byte(fmt.Sprintf("viewer v %s expires=2020-01-01T00:00:00Z\n", sumOf("gone"))), 0o600))
	require.NoError(t, b.server.Tokens.Watch(path, zap.NewNop()))
	code, _, body := b.do(t, http.MethodGet, "/v1/jobs", "gone", "")
	require.Equal(t, http.StatusUnauthorized, code)
	require.Contains(t, body, "has expired")
	require.Contains(t, body, "backfleet token new")
}
