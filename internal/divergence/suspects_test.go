package divergence_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/divergence"
)

func TestSuspicionGoesFirstToWhoWroteToTheTable(t *testing.T) {
	got := divergence.Suspects([]divergence.Activity{
		{Application: "reader", Query: "SELECT * FROM users", Seen: 50},
		{Application: "other", Query: "UPDATE orders SET n = ?", Seen: 9},
		{Application: "cron", Query: "UPDATE users SET email = ?", Seen: 1},
		{Application: "cron", Query: "UPDATE users SET email = ?", Seen: 2},
		{User: "app", Query: "INSERT INTO users VALUES ($1)", Calls: 3, Rows: 7},
		{Application: "idle", Query: "SELECT ?"},
	}, []string{"users"})
	require.Equal(t, []string{"", "cron", "reader", "other", "idle"}, []string{got[0].Application, got[1].Application, got[2].Application, got[3].Application, got[4].Application})
	require.Equal(t, 3, got[1].Seen)
}
