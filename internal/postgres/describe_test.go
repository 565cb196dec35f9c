package postgres_test

import (
	"strings"
	"testing"

	"github.com/backfleet/backfleet/internal/postgres"
)

// Nobody listens on port 1; the driver tries it with and without TLS, and tells both.
func TestAFailedConnectionIsToldOnce(t *testing.T) {
	_, err := postgres.Open(t.Context(), "main", postgres.SourceOf("postgres://app:c4n4ry@127.0.0.1:1/db"), postgres.PoolOptions{})
	if err == nil {
		t.Fatal("somebody answered")
	}
	text := err.Error()
	if strings.Count(text, "connection refused") != 1 || strings.ContainsAny(text, "\t\n") || !strings.Contains(text, "user=app") {
		t.Errorf("%q", text)
	}
	if strings.Contains(text, "c4n4ry") {
		t.Errorf("the password is told: %q", text)
	}
}
