package watch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// requireFits fails where a frame is larger than its terminal.
func requireFits(t *testing.T, frame string, width, height int) {
	t.Helper()
	lines := strings.Split(frame, "\n")
	require.LessOrEqual(t, len(lines), height)
	for _, l := range lines {
		require.LessOrEqual(t, ansi.StringWidth(l), width, l)
	}
}

func TestFrames(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"80x24", 80, 24}, {"120x40", 120, 40}, {"40x20", 40, 20}} {
		t.Run("fleet "+size.name, func(t *testing.T) {
			s := open(t, night(), size.width, size.height, "")
			s.course(30)
			requireFits(t, s.frame(), size.width, size.height)
			golden(t, "fleet-"+size.name, s.frame()+"\n")
		})
		t.Run("job "+size.name, func(t *testing.T) {
			s := open(t, night(), size.width, size.height, normID)
			s.course(30)
			requireFits(t, s.frame(), size.width, size.height)
			golden(t, "job-"+size.name, s.frame()+"\n")
		})
	}
	t.Run("help", func(t *testing.T) {
		s := open(t, night(), 80, 24, "")
		s.press("?")
		golden(t, "help", s.frame()+"\n")
		s.press("x")
		require.Contains(t, s.frame(), "DATABASES")
	})
}

// A terminal may be of any size, and change it at any time.
func TestEveryFrameFits(t *testing.T) {
	for _, id := range []job.ID{"", normID} {
		s := open(t, night(), 80, 24, id)
		for width := 1; width < 200; width += 7 {
			for height := 1; height < 60; height += 3 {
				s.model, _ = s.model.Update(tea.WindowSizeMsg{Width: width, Height: height})
				requireFits(t, s.frame(), width, height)
			}
		}
	}
}

// A screen without any color says the same: colors paint what the words say already.
func TestColorsOnlyPaint(t *testing.T) {
	fleet := night()
	bare := open(t, fleet, 100, 30, normID)
	painted := New(t.Context(), Options{Fleet: fleet, Where: "http://127.0.0.1:8080", Job: normID, Color: true, Now: func() time.Time { return now }}).(model)
	s := &screen{t: t, fleet: fleet, clock: now, model: painted}
	s.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	require.Contains(t, s.frame(), "\x1b[")
	require.NotContains(t, bare.frame(), "\x1b")
	for i, l := range s.lines() {
		require.Equal(t, bare.lines()[i], strings.TrimRight(ansi.Strip(l), " "))
	}
}

func TestKeysAreOfferedByRoleAndState(t *testing.T) {
	fleet := night()
	s := open(t, fleet, 120, 30, "")
	require.Equal(t, "p pause   l limits   h hold   q quit   ? help   enter open   ↑↓ choose", s.offered(), "the open job is chosen first")
	s.press("up", "up", "up")
	require.Equal(t, "h hold   q quit   ? help   ↑↓ choose", s.offered(), "a database")
	s.press("down")
	require.Equal(t, "u release   q quit   ? help   ↑↓ choose", s.offered(), "it is held")
	s.press("down")
	require.Equal(t, "q quit   ? help   ↑↓ choose", s.offered(), "it does not answer")

	s.press("down", "enter")
	require.Equal(t, "p pause   l limits   h hold   esc fleet   q quit   ? help", s.offered())
	fleet.jobs[1].State = job.Paused
	s.pass()
	require.True(t, strings.HasPrefix(s.offered(), "r resume   l limits"), s.offered())
	fleet.jobs[1].State = job.Complete
	s.pass()
	require.True(t, strings.HasPrefix(s.offered(), "h hold   esc fleet"), s.offered())

	fleet.jobs[1].State = job.Running
	fleet.me = api.Me{Name: "screen", Role: "viewer"}
	s.pass()
	require.Equal(t, "esc fleet   q quit   ? help", s.offered(), "what it may not do is not offered")
	s.press("p")
	require.Contains(t, s.frame(), "this token is screen's, a viewer: it may look, and change nothing")
	s.press("y")
	require.Empty(t, fleet.asked)
}

func TestNothingIsChangedUnconfirmed(t *testing.T) {
	for _, c := range []struct {
		name  string
		press []string
		asks  string // what is to be confirmed
		does  string
	}{
		{"pause", []string{"p"}, "pause users-email-norm?", "pause " + string(normID)},
		{"hold", []string{"h", "10m incident 4711", "enter"}, "hold every batch of main for 10m: incident 4711?", `hold main 10m0s "incident 4711"`},
		{"limits", []string{"l", "workers.max=8 throttle.lag.target=2s", "enter"},
			"set users-email-norm throttle.lag.target: 1s → 2s, workers.max: 16 → 8?",
			"set " + string(normID) + " map[throttle.lag.target:2s workers.max:8]"},
		{"release", []string{"up", "up", "u"}, "release audit, which is held by ann@ops1 until", "release audit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet := night()
			begin := func() *screen {
				s := open(t, fleet, 120, 30, "")
				s.press(c.press...)
				require.Contains(t, s.frame(), c.asks)
				return s
			}
			for _, no := range []string{"n", "q", "esc", "enter"} {
				s := begin()
				s.press(no)
				require.Contains(t, s.frame(), "nothing was changed")
				require.Empty(t, fleet.asked)
				require.False(t, s.quit)
			}
			begin().press("y")
			require.Equal(t, []string{c.does}, fleet.asked)
		})
	}
	fleet := night()
	fleet.jobs[1].State = job.Paused
	s := open(t, fleet, 120, 30, normID)
	s.press("r", "y")
	require.Equal(t, []string{"resume " + string(normID)}, fleet.asked)
	require.Contains(t, s.frame(), "users-email-norm is running")
}

func TestWhatIsTypedIsCheckedBeforeItIsAsked(t *testing.T) {
	for _, c := range []struct{ key, text, says string }{
		{"h", "soon", `"soon" is not a time; write 10m or 1h`},
		{"h", "9999h", `"9999h" is not a time`},
		{"l", "workers.max", `"workers.max" is no PATH=VALUE`},
		{"l", "workers.max=many", "workers.max"},
		{"l", "workers.mx=4", `did you mean "workers.max"?`},
		{"l", "workers.max=16", "that is what it is already"},
	} {
		fleet := night()
		s := open(t, fleet, 120, 30, "")
		s.press(c.key, c.text, "enter")
		require.Contains(t, s.frame(), c.says)
		require.Contains(t, s.frame(), c.text+"_", "it can be mended")
		s.press("y", "enter", "esc")
		require.Empty(t, fleet.asked)
	}
	s := open(t, night(), 120, 30, "")
	s.press("h", "1x", "backspace", "0m")
	s.send(tea.PasteMsg{Content: " from\nthe \x1b[31mclipboard"})
	require.Contains(t, s.frame(), "for 10m from the [31mclipboard_", "no control character comes in")
}

func TestAChangeThatIsRefusedSaysWhy(t *testing.T) {
	fleet := night()
	s := open(t, fleet, 120, 30, "")
	s.press("p")
	fleet.down = api.Fail(api.Conflict, errGone, "look again")
	s.press("y")
	require.Contains(t, s.frame(), "connection refused")
}

func TestALostCoordinatorIsToldAndComesBack(t *testing.T) {
	fleet := night()
	s := open(t, fleet, 120, 30, normID)
	fleet.down = errGone
	s.pass()
	s.pass()
	s.pass()
	require.Contains(t, s.frame(), "NO ANSWER")
	require.Contains(t, s.lines()[1], "NO ANSWER for 2.0s: api: http://127.0.0.1:8080: dial tcp 127.0.0.1:8080: connect: connection refused")
	require.Contains(t, s.frame(), "26,012,400 rows", "what was known stays in view")
	fleet.down = nil
	s.pass()
	require.NotContains(t, s.frame(), "NO ANSWER")

	fleet.down = api.Fail(api.Unauthenticated, errors.New("the request holds no API token that is known here"), "give the token file")
	s.pass()
	require.Contains(t, s.lines()[1], "REFUSED for 0ms: the request holds no API token that is known here")
	require.Contains(t, s.frame(), "26,012,400 rows")

	gone := night()
	gone.down = errGone
	s = open(t, gone, 80, 24, "")
	require.Contains(t, s.frame(), "NO ANSWER")
	s.press("p", "enter", "down", "q")
	require.True(t, s.quit)
}

// An answer that takes long is asked for more rarely.
func TestASlowAnswerIsAskedForMoreRarely(t *testing.T) {
	m := New(t.Context(), Options{Fleet: night(), Now: func() time.Time { return now }}).(model)
	for took, wait := range map[time.Duration]time.Duration{10 * time.Millisecond: time.Second, 500 * time.Millisecond: 5 * time.Second, 4 * time.Second: 15 * time.Second} {
		require.Equal(t, now.Add(wait), m.told(toldMsg{facts: facts{at: now, took: took}}).next)
	}
}

// An error's text is whatever a row or a server holds: a terminal must not obey it.
func TestNoTextCommandsTheTerminal(t *testing.T) {
	fleet := night()
	st := running()
	st.Workers[0].Error = "value \x1b]0;owned\x07\x1b[2J\u202ebad\r\n"
	st.Reason = "\x1b[31mred"
	fleet.status[api.JobName(normID)] = st
	fleet.dbs[2].Error = "\x1b[2Jgone"
	for _, id := range []job.ID{"", normID} {
		frame := open(t, fleet, 200, 50, id).frame()
		require.NotContains(t, frame, "\x1b")
		require.NotContains(t, frame, "\x07")
		require.NotContains(t, frame, "\u202e")
		require.NotContains(t, frame, "\r")
	}
	require.NotContains(t, Line(st), "\x1b")
	require.NotContains(t, strings.Join((&Compact{}).Lines(st, 80), "\n"), "\x1b")
}

func TestTheRangeMapScalesToTheWidth(t *testing.T) {
	cells := func(n int) job.Blocks { return job.Blocks{Cells: make([]job.RangeCounts, n)} }
	for _, c := range []struct{ ranges, width, lines, wide int }{
		{1, 80, 1, 80}, {3, 80, 1, 78}, {80, 80, 1, 80}, {81, 80, 2, 80}, {1000, 80, 13, 80}, {0, 80, 0, 0}, {5, 0, 0, 0},
	} {
		got := blocks(cells(c.ranges), c.width)
		require.Len(t, got, c.lines, "%v", c)
		if c.lines > 0 {
			require.Equal(t, c.wide, got[0].cells(), "%v", c)
		}
	}
	sum := joined(night().blocks, 100)
	require.Len(t, sum.Cells, 100)
	total, failed := 0, 0
	for _, c := range sum.Cells {
		total, failed = total+c.Total, failed+c.Failed
	}
	require.Equal(t, 1402, total)
	require.Equal(t, 2, failed, "no failed range hides in a cell")
}

func TestCompact(t *testing.T) {
	var got strings.Builder
	write := func(lines ...string) { got.WriteString(strings.Join(lines, "\n") + "\n\n") }
	for _, width := range []int{100, 40} {
		var c Compact
		for i := range 30 {
			st := running()
			st.Rate = float64(4000 + 200*(i%10))
			c.Lines(st, width)
		}
		lines := c.Lines(running(), width)
		requireFits(t, strings.Join(lines, "\n"), width, len(lines))
		write(lines...)
	}
	write(Line(running()))
	write(Line(job.Status{Name: "a", State: job.Planning}))
	write((&Compact{}).Lines(job.Status{Name: "a", State: job.Failed, Planned: true, Reason: "disk full"}, 60)...)
	write(Line(job.Status{Name: "a", State: job.Running, Planned: true}))
	golden(t, "compact", got.String())
}

func TestPlainLines(t *testing.T) {
	fleet := night()
	var told teller
	var got strings.Builder
	at := now
	step := func(what string, only job.ID) {
		f, err := ask(t.Context(), fleet, question{job: only}, func() time.Time { return at })
		var lines []string
		told, lines = told.next(f, err, only)
		got.WriteString("-- " + what + "\n" + strings.Join(append(lines, ""), "\n"))
		at = at.Add(time.Second)
	}
	step("the beginning", "")
	step("nothing new", "")
	fleet.jobs[1].State, fleet.jobs[1].Reason = job.Paused, "deploy"
	step("a pause", "")
	fleet.dbs[1].Brake = nil
	fleet.dbs[0].Leader = nil
	step("a release, and a leader that is gone", "")
	fleet.down = errGone
	step("no answer", "")
	step("still none", "")
	fleet.down = nil
	step("back", "")
	at = at.Add(10 * time.Second)
	step("ten seconds later", "")

	told, fleet = teller{}, night()
	step("one job", normID)
	step("nothing new", normID)
	fleet.jobs[1].State = job.Verifying
	step("it verifies", normID)
	golden(t, "plain", got.String())
}

func TestPlainEndsWithItsJob(t *testing.T) {
	fleet := night()
	st := running()
	st.State = job.Complete
	fleet.status[api.JobName(normID)] = st
	fleet.jobs[1].State, fleet.jobs[1].Progress = job.Complete, nil
	for _, inJSON := range []bool{false, true} {
		var out bytes.Buffer
		end, err := Plain{Fleet: fleet, Out: &out, Job: normID, JSON: inJSON, Now: func() time.Time { return now }}.Run(t.Context())
		require.NoError(t, err)
		require.Equal(t, job.Complete, end.State)
		require.Contains(t, out.String(), "complete")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Plain{Fleet: fleet, Out: &bytes.Buffer{}, Now: func() time.Time { return now }}.Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
