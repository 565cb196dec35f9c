package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/watch"
	"github.com/backfleet/backfleet/internal/words"
)

// screen shows a job's progress: a few lines that are written over on a terminal, else a plain line now and then and at each
// change of state. It is an io.Writer too: what logs write to it stands above the progress.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	width int      // 0: no terminal
	drawn []string // what stands on the terminal now
	form  watch.Compact
	last  job.State
	said  time.Time
	down  string // what was last said to be wrong
}

// plainEvery is how often a line is written without a terminal.
const plainEvery = 5 * time.Second

func (a *app) newScreen() *screen {
	width, ok := a.terminal(a.stderr)
	if !ok {
		width = 0
	}
	return &screen{w: a.stderr, width: width}
}

// Write implements io.Writer for whole lines.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.drawn) == 0 {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, s.erase()+string(p)+strings.Join(s.drawn, "\n")+"\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show shows a status.
func (s *screen) show(st job.Status, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = ""
	if s.width > 0 {
		s.draw(s.form.Lines(st, s.width))
		return
	}
	if st.State == s.last && now.Sub(s.said) < plainEvery {
		return
	}
	s.last, s.said = st.State, now
	say(s.w, "%s %s", now.UTC().Format("15:04:05"), watch.Line(st))
}

// trouble says that the status cannot be read now; once for the same cause.
func (s *screen) trouble(why string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why == s.down {
		return
	}
	s.down = why
	line := now.UTC().Format("15:04:05") + " status not known: " + why
	if s.width > 0 {
		s.draw([]string{words.Clip(line, s.width)})
		return
	}
	say(s.w, "%s", line)
}

// close leaves what stands on the terminal and goes on below it.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = nil
}

func (s *screen) draw(lines []string) {
	_, _ = io.WriteString(s.w, s.erase()+strings.Join(lines, "\n")+"\n")
	s.drawn = lines
}

// erase moves to the first line that was drawn and clears from there.
func (s *screen) erase() string {
	if len(s.drawn) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(s.drawn))
}
