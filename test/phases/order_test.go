package phases

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// wrong is a step that makes no sense where the migration stands, and what its one line says to do instead.
type wrong struct{ step, instead string }

// wrongly takes each of the steps and sees that it is refused in one line, and that neither the schema nor the ledger changes.
func (s *scene) wrongly(where string, steps ...wrong) {
	s.Helper()
	before, schema := s.state(), s.dump()
	for _, w := range steps {
		words := strings.Fields(w.step)
		if strings.Contains(w.step, "--reason") {
			words = append(words, "a test")
		}
		said := s.refused(words[0], words[1:]...)
		require.Equal(s, 1, strings.Count(said, "\n"), "%s: %s: %s", where, w.step, said)
		require.Contains(s, said, w.instead, "%s: %s", where, w.step)
	}
	require.Equal(s, before, s.state(), where)
	require.Equal(s, schema, s.dump(), where)
}

// Whatever is done out of its turn changes nothing, and says what is to be done instead.
func TestTheWrongOrder(t *testing.T) {
	s := newScene(t, sameTable)
	expand := "go on with: backfleet phase expand norm"
	s.wrongly("at the start", wrong{"dual-write", expand}, wrong{"dual-write --cost", "backfleet phase expand norm"}, wrong{"check", "backfleet phase dual-write norm"},
		wrong{"backfill", expand}, wrong{"switch --to 1", expand}, wrong{"stop", expand}, wrong{"rehearse --for 1h", expand}, wrong{"undo", expand}, wrong{"drop", expand},
		wrong{"abandon", "--reason"}, wrong{"tick nonsense", "backfleet phase show norm"}, wrong{"override backfill --reason", "the next one is expand"},
		wrong{"override nonsense --reason", "one of expand, dual-write"}, wrong{"switch", "give 1, 10 or 100"}, wrong{"rehearse", "--for 24h"})
	other := s.cli("phase", "start", s.file("other.yaml", strings.Replace(sameTable, "lower", "upper", 1)))
	require.Equal(t, 2, other.code)
	require.Contains(t, other.stderr, "a name of its own")
	require.Contains(t, s.must("phase", "start", s.file("m.yaml", sameTable)), "nothing changed")

	s.phase("expand")
	s.phase("expand")
	dual := "go on with: backfleet phase dual-write norm"
	s.wrongly("expanded", wrong{"dual-write", "phase tick norm schema-deployed"}, wrong{"check", "backfleet phase dual-write norm"}, wrong{"backfill", dual},
		wrong{"switch --to 1", dual}, wrong{"stop", dual}, wrong{"rehearse --for 1h", dual}, wrong{"undo", dual}, wrong{"drop", dual})

	s.tick("schema-deployed", "writers-known")
	s.phase("dual-write")
	s.phase("dual-write")
	s.phase("check")
	fill := "go on with: backfleet phase backfill norm"
	s.wrongly("dual-write", wrong{"expand", "backfleet phase show norm"}, wrong{"dual-write --application", "give the migration up"}, wrong{"backfill", "remain, until"},
		wrong{"switch --to 1", fill}, wrong{"stop", fill}, wrong{"rehearse --for 1h", "backfleet phase stop norm"}, wrong{"undo", fill}, wrong{"drop", fill})

	s.pass(day)
	s.tick("dashboards-watched")
	s.phase("backfill")
	next := "go on with: backfleet phase switch norm --to 1"
	s.wrongly("backfill", wrong{"expand", "backfleet phase show norm"}, wrong{"switch --to 1", "backfleet phase backfill norm"}, wrong{"stop", next},
		wrong{"rehearse --for 1h", "backfleet phase stop norm"}, wrong{"undo", next}, wrong{"drop", next}, wrong{"abandon --reason", "backfleet cancel norm"})
	end := s.briefly()
	s.await("the backfill is complete", func() bool { return s.show().Phase == migration.Switch })
	end()

	s.phase("check")
	s.phase("switch", "--to", "1")
	s.phase("check")
	next = "backfleet phase switch norm --to 10"
	s.wrongly("at one percent", wrong{"expand", "backfleet phase show norm"}, wrong{"switch --to 100", next}, wrong{"switch --to 50", next}, wrong{"stop", next},
		wrong{"rehearse --for 1h", "backfleet phase stop norm"}, wrong{"drop", next})
	s.phase("switch", "--to", "1")
	s.phase("switch", "--to", "10")
	s.phase("check")
	s.phase("switch", "--to", "100")
	s.tick("no-old-readers", "rollback-given-up")
	s.phase("check")
	s.wrongly("all reads switched", wrong{"switch --to 10", "backfleet phase rollback norm"}, wrong{"stop", "remain, until"}, wrong{"rehearse --for 1h", "backfleet phase stop norm"},
		wrong{"drop", "backfleet phase stop norm"})

	s.pass(7 * day)
	require.Contains(t, s.refused("stop"), "no diverging row in the last 24h of that", "a round of a week ago says nothing of today")
	s.phase("check")
	s.phase("stop")
	s.tick("undo-kept")
	show := "go on with: backfleet phase show norm"
	s.wrongly("stopped", wrong{"expand", "backfleet phase show norm"}, wrong{"dual-write", show}, wrong{"check", show}, wrong{"switch --to 10", "backfleet phase show norm"},
		wrong{"rollback --reason", "a new migration"}, wrong{"abandon --reason", show}, wrong{"undo", "backfleet phase drop norm"})
	s.phase("rehearse", "--for", "1h", "--mode", "rename", "--detach")
	s.wrongly("rehearsing", wrong{"rehearse --for 1h --accept " + owner + ",postgres", "end that one first"})
	s.pass(7 * day)
	s.phase("undo")
	s.phase("undo")
	s.phase("drop")
	done := "see: backfleet phase show norm"
	s.wrongly("done", wrong{"expand", done}, wrong{"dual-write", done}, wrong{"check", "backfleet phase show norm"}, wrong{"switch --to 1", done}, wrong{"rollback --reason", done},
		wrong{"rehearse --for 1h", done}, wrong{"undo", done}, wrong{"abandon --reason", done}, wrong{"tick undo-kept", done}, wrong{"plan", done}, wrong{"override drop --reason", done})
}

// A migration that was given up stays so.
func TestNothingIsDoneOfAnAbandonedMigration(t *testing.T) {
	s := newScene(t, newTable)
	s.phase("expand")
	s.tick("schema-deployed")
	s.phase("dual-write")
	s.phase("abandon", "--reason", "a better way")
	s.phase("abandon", "--reason", "a better way")
	require.Zero(t, s.number("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass"))
	again := "begin another one"
	s.wrongly("abandoned", wrong{"expand", again}, wrong{"dual-write", again}, wrong{"check", again}, wrong{"backfill", again}, wrong{"switch --to 1", again}, wrong{"rollback", again},
		wrong{"stop", again}, wrong{"rehearse --for 1h", again}, wrong{"undo", again}, wrong{"drop", again}, wrong{"tick writers-known", again}, wrong{"plan", again},
		wrong{"override backfill --reason", again})
}
