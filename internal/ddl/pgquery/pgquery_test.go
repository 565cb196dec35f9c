package pgquery_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/backfleet/backfleet/internal/ddl/pgquery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParses(t *testing.T) {
	start := time.Now()
	tree, err := pgquery.ParseToJSON(t.Context(), "select 1; alter table t add c int")
	require.NoError(t, err)
	t.Logf("the first parse took %v", time.Since(start))
	require.Contains(t, tree, `"AT_AddColumn"`)
	start = time.Now()
	_, err = pgquery.ParseToJSON(t.Context(), "select 1")
	require.NoError(t, err)
	t.Logf("another took %v", time.Since(start))
}

// PostgreSQL's errors jump over its C stack; a parse after one must not know of it.
func TestAnErrorHasItsPlaceAndLeavesNothingBehind(t *testing.T) {
	for range 3 {
		_, err := pgquery.ParseToJSON(t.Context(), "select 'ä';\nselec 1")
		var at *pgquery.Error
		require.ErrorAs(t, err, &at)
		require.Equal(t, `syntax error at or near "selec"`, at.Message)
		require.Equal(t, 13, at.Cursor)
		_, err = pgquery.ParseToJSON(t.Context(), "select 1")
		require.NoError(t, err)
	}
}

func TestParsesAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := pgquery.ParseToJSON(context.Background(), "create table t (id int primary key)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Neither depth nor size may end the process.
func TestWhatIsTooMuchIsAnError(t *testing.T) {
	_, err := pgquery.ParseToJSON(t.Context(), "select "+strings.Repeat("(", 20_000)+"1"+strings.Repeat(")", 20_000))
	require.Error(t, err)
	t.Log(err)
	long := "select " + strings.Repeat("1,", 20_000) + "1"
	start := time.Now()
	_, err = pgquery.ParseToJSON(t.Context(), long)
	t.Logf("%d bytes: %v, %v", len(long), time.Since(start), err)
}
