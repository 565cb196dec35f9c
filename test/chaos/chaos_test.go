package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A schedule that is always the same breaks the fleet for three minutes; SEED and MINUTES try others and longer. Afterwards, the check
// itself is shown to see what it looks for.
func TestChaos(t *testing.T) {
	o := options{seed: number(t, "SEED", uint64(20)), lasts: 3 * time.Minute, after: func(ctx context.Context, c *chaos) {
		for _, kind := range []string{"primary killed, standby promoted", "NATS leader of the stream killed", "NATS leader cut off from the others"} {
			require.NotEmpty(t, c.made[kind], kind)
		}
		if os.Getenv("SEED") == "" {
			require.Positive(t, c.app.taken, "this schedule's failovers took nothing: nothing was tested")
		}
		seesAll(ctx, t, c)
	}}
	if minutes := number(t, "MINUTES", uint64(0)); minutes > 0 {
		o.lasts = time.Duration(minutes) * time.Minute
	}
	began := time.Now()
	o.say = func(format string, args ...any) {
		t.Logf("%7.1fs  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	r, err := run(t.Context(), o)
	t.Log(r)
	require.NoError(t, err)
	require.Empty(t, r.violations)
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	if os.Getenv(name) == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(os.Getenv(name), 10, 32)
	require.NoError(t, err, name)
	return n
}

// wrongs are what would be found after a fault that the fleet does not stand: how it looks, and what the check says of it.
var wrongs = []struct{ sql, says string }{
	{"UPDATE public.accounts SET counter = counter + 1 WHERE id = 11", "a row's counter is wrong: row 11 has"},
	{"UPDATE public.accounts SET counter = counter - 1 WHERE id = 12", "a row's counter is wrong: row 12 has"},
	{"INSERT INTO public.history SELECT * FROM public.history WHERE job = 'chaos-1' AND id = 13", "did a row wrongly: row 13 2 times"},
	{"DELETE FROM public.history WHERE job = 'chaos-1' AND id = 14", "did a row wrongly: row 14 0 times"},
	{"UPDATE public.history SET became = became + 1 WHERE job = 'chaos-1' AND id = 15", "did a row wrongly: row 15 1 times"},
	{"UPDATE public.accounts SET app = app - 1 WHERE id = (SELECT min(id) FROM public.accounts WHERE app > 0)", "the application added"},
	{"DELETE FROM public.accounts WHERE id = (SELECT id FROM known)", "rows that the application inserted are lost"},
	{"INSERT INTO public.accounts (id, name) SELECT 900000000 + i, 'forged' FROM generate_series(1, 10000) i", "rows are there that nobody inserted"},
	{"UPDATE backfleet.ranges SET hi = ARRAY['17'] WHERE index = 1", "chaos-1 has a gap"},
	{"UPDATE backfleet.ranges SET rows = rows + 1 WHERE index = 2", "chaos-1 counts wrong"},
	{"UPDATE public.history SET at = (SELECT min(at) FROM public.history) WHERE job = 'chaos-1'", "rows were written in"},
}

// seesAll makes each of them and looks again. They add up; each is told apart by its words.
func seesAll(ctx context.Context, t *testing.T, c *chaos) {
	t.Helper()
	if len(c.violations) > 0 {
		return // they are the findings
	}
	figures := c.figures
	c.say = func(string, ...any) {}
	look := func(says string) {
		t.Helper()
		c.violations = nil
		require.NoError(t, c.check(ctx))
		require.Contains(t, strings.Join(c.violations, "\n"), says)
	}
	for id := range c.app.inserted { // any that it knows to be committed
		require.NoError(t, execOn(ctx, c.direct, fmt.Sprintf("CREATE TABLE public.known AS SELECT %d::bigint AS id", id)))
		break
	}
	for _, w := range wrongs {
		// As a replica the session fires no trigger: the history does not hear of it.
		require.NoError(t, execOn(ctx, c.direct, "SET session_replication_role = replica", w.sql))
		look(w.says)
	}
	nc, js, err := c.jetstream()
	require.NoError(t, err)
	defer nc.Close()
	_, err = js.PublishMsg(ctx, nats.NewMsg("backfleet.range.main.chaos-1.3"))
	require.NoError(t, err)
	look("the stream is not empty: 1 messages")

	c.watch.last.Done++
	c.violations = nil
	c.watch.look(ctx)
	require.Contains(t, strings.Join(c.violations, "\n"), "the ledger took something back")
	c.violations, c.figures = nil, figures
}
