package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/flag"
	"github.com/backfleet/backfleet/internal/postgres"
)

const flagPath = "/v1/databases/main/flags/norm"

// flagged is a server with a flag at 10 %.
func flagged(t *testing.T) bundle {
	t.Helper()
	b := setup(t)
	b.main.flags = []flag.Flag{{Name: "norm", Percent: 10, Revision: 3, By: "ann", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	return b
}

func TestAnApplicationAsksWhichSchemaToRead(t *testing.T) {
	b := flagged(t)
	for path, want := range map[string]string{
		"/v1/databases/main/flags":               `{"database":"main","flags":[{"name":"norm","percent":10,"since":"2026-01-02T03:04:05Z","revision":3}]}`,
		flagPath:                                 `{"name":"norm","percent":10,"since":"2026-01-02T03:04:05Z","revision":3}`,
		flagPath + "?key=" + keyThatIs(b, true):  `{"name":"norm","percent":10,"since":"2026-01-02T03:04:05Z","revision":3,"on":true}`,
		flagPath + "?key=" + keyThatIs(b, false): `{"name":"norm","percent":10,"since":"2026-01-02T03:04:05Z","revision":3,"on":false}`,
		"/v1/databases/audit/flags":              `{"database":"audit","flags":[]}`,
	} {
		got := ask(t, b.server, http.MethodGet, path, "view-token", "192.0.2.1:1")
		require.Equal(t, http.StatusOK, got.Code, "%s %s", path, got.Body)
		require.JSONEq(t, want, got.Body.String(), path)
		require.Equal(t, "private, max-age=1", got.Header().Get("Cache-Control"))
		again := ask(t, b.server, http.MethodGet, path, "view-token", "192.0.2.1:1", "If-None-Match", `"other", W/`+got.Header().Get("ETag"))
		require.Equal(t, http.StatusNotModified, again.Code, path)
		require.Empty(t, again.Body.String())
		require.Equal(t, got.Header().Get("ETag"), again.Header().Get("ETag"))
	}
	for _, path := range []string{"/v1/databases/main/flags/none", "/v1/databases/audit/flags/norm", "/v1/databases/none/flags/norm"} {
		got := ask(t, b.server, http.MethodGet, path, "view-token", "192.0.2.1:1")
		require.Equal(t, http.StatusNotFound, got.Code, path)
		require.Equal(t, "application/problem+json", got.Header().Get("Content-Type"))
	}
	all, err := b.client.Flags(t.Context(), "main")
	require.NoError(t, err)
	require.Len(t, all.Flags, 1)
}

func keyThatIs(b bundle, on bool) string {
	for i := 0; ; i++ {
		if b.main.flags[0].On(strconv.Itoa(i)) == on {
			return strconv.Itoa(i)
		}
	}
}

// However many ask, and though people's requests are limited and have every turn, the database is asked once a second.
func TestAFleetOfApplicationsIsServedFromMemory(t *testing.T) {
	b := flagged(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	b.server.rates, b.server.flags = newRates(50, clock), newFlagCache(clock)
	for range MostAtOnce {
		b.server.atOnce <- struct{}{}
	}
	for second := range 3 {
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				got := ask(t, b.server, http.MethodGet, flagPath+"?key=1", "view-token", "192.0.2.1:1")
				assert.Equal(t, http.StatusOK, got.Code, "%s", got.Body)
			})
		}
		all.Wait()
		require.Equal(t, second+1, b.main.flagged)
		now = now.Add(time.Second)
	}
	for range MostAtOnce {
		<-b.server.atOnce
	}
	require.Equal(t, http.StatusOK, ask(t, b.server, http.MethodGet, "/v1/jobs", "view-token", "192.0.2.1:1").Code,
		"and that token's other requests have their own rate")
	codes := map[int]int{}
	for range 50 * pollShare * rateBurst * 2 {
		codes[ask(t, b.server, http.MethodGet, flagPath, "view-token", "192.0.2.1:1").Code]++
	}
	require.Positive(t, codes[http.StatusTooManyRequests], "there is a limit all the same")
}

// A database that does not answer is 503 for all who ask, soon again 200, and its flags of before are given to nobody.
func TestFlagsOfADatabaseThatIsDownAreNotMadeUp(t *testing.T) {
	b := flagged(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.server.flags = newFlagCache(func() time.Time { return now })
	get := func() int {
		return ask(t, b.server, http.MethodGet, flagPath, "view-token", "192.0.2.1:1", "If-None-Match", `"norm.3.10.1767323045000000"`).Code
	}
	require.Equal(t, http.StatusNotModified, get())
	now = now.Add(time.Second)
	b.main.down = &postgres.UnreachableError{Err: errors.New("connection refused")}
	require.Equal(t, http.StatusServiceUnavailable, get())
	require.Equal(t, http.StatusServiceUnavailable, get())
	require.Equal(t, 2, b.main.flagged, "a database in trouble is not asked more often")
	b.main.down = nil
	now = now.Add(time.Second)
	require.Equal(t, http.StatusNotModified, get())
}

// hangingFlags is a ledger whose database does not answer.
type hangingFlags struct{ *memory }

func (hangingFlags) Flags(ctx context.Context) ([]flag.Flag, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Who leaves takes nothing from those who wait for the same reading, and a database that hangs is told in time.
func TestAReadingOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFlagCache(time.Now)
		db := Database{Name: "main", Ledger: hangingFlags{}}
		impatient, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() { _, _ = c.of(impatient, db) })
		synctest.Wait()
		all.Go(func() {
			_, err := c.of(t.Context(), db)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, flagsTimeout, time.Since(began))
		})
		all.Wait()
	})
}
