package phases

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// stopped is a migration whose application writes the new schema only. What was before is but told to the ledger.
func stopped(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, sameTable)
	s.phase("expand")
	s.tick("schema-deployed", "writers-known")
	s.phase("dual-write", "--application")
	s.phase("check")
	s.pass(day)
	s.phase("backfill")
	s.exec(`UPDATE backfleet.migrations SET facts = facts || jsonb_build_object('backfilled', now(), 'percent', 100, 'ramped', now(), 'stopped', now())`)
	return s
}

// A rehearsal takes the old schema away for its time and brings it back, at a signal too. One whose process was killed is seen by everybody,
// gone on with by the same command, and ended by anybody; only one that ran its whole time counts.
func TestARehearsal(t *testing.T) {
	s := stopped(t)
	there := func() bool {
		return s.number("SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'email'") == 1
	}
	begin := func(howLong time.Duration) *harness.Process {
		p := harness.Start(t, s.bin, []string{"phase", "rehearse", "norm", "--mode", "rename", "--for", fmt.Sprint(howLong)}, []string{"BACKFLEET_DATABASE_MAIN=" + s.dsn})
		s.await("the old schema is taken away", func() bool { return !there() })
		return p
	}
	ended := func(p *harness.Process) int {
		code, err := p.Wait(patience)
		require.NoError(t, err)
		return code
	}

	p := begin(time.Hour)
	require.NoError(t, p.Signal(syscall.SIGINT))
	require.Zero(t, ended(p))
	require.True(t, there(), "a signal brings it back")
	require.Nil(t, s.facts().Rehearsed, "it was cut short")

	require.NoError(t, begin(time.Hour).Kill())
	require.False(t, there())
	for _, text := range []string{s.must("phase"), s.phase("show")} {
		require.Contains(t, text, "REHEARSAL of norm by rename")
		require.Contains(t, text, "backfleet phase undo norm")
	}
	require.Contains(t, s.refused("readers"), "backfleet phase undo norm")
	require.Contains(t, s.refused("drop"), "one is under way")
	began := time.Now()
	s.phase("undo")
	require.Less(t, time.Since(began), patience/10)
	require.True(t, there())
	require.Nil(t, s.facts().Rehearsed)

	require.NoError(t, begin(2*time.Second).Kill())
	require.Contains(t, s.phase("rehearse", "--mode", "rename", "--for", "1h"), "is back, exactly as it was", "it waits for what is left of the first one's time")
	require.True(t, there())
	require.NotNil(t, s.facts().Rehearsed)
}
