package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	started = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	now     = time.Date(2026, 3, 1, 3, 0, 30, 0, time.UTC)
)

// answers is a fleet that says what it is told to, and notes what it was asked to change.
type answers struct {
	mu     sync.Mutex
	me     api.Me
	dbs    []api.DatabaseHealth
	jobs   []api.JobLine
	status map[api.JobName]job.Status
	blocks job.Blocks
	down   error
	asked  []string
}

func (a *answers) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, fmt.Sprintf(format, args...))
}

func (a *answers) Me(context.Context) (api.Me, error) { return a.me, a.down }
func (a *answers) Databases(context.Context) (api.DatabaseList, error) {
	return api.DatabaseList{Databases: a.dbs}, a.down
}
func (a *answers) RecentJobs(context.Context) (api.JobList, error) {
	return api.JobList{Jobs: a.jobs}, a.down
}
func (a *answers) Status(_ context.Context, n api.JobName) (job.Status, error) {
	return a.status[n], a.down
}
func (a *answers) Blocks(_ context.Context, _ api.JobName, cells int) (job.Blocks, error) {
	return joined(a.blocks, cells), a.down
}
func (a *answers) Pause(_ context.Context, n api.JobName, _ string) (api.Job, error) {
	a.note("pause %s", n)
	return api.Job{Name: "users-email-norm", State: job.Paused}, a.down
}
func (a *answers) Resume(_ context.Context, n api.JobName) (api.Job, error) {
	a.note("resume %s", n)
	return api.Job{Name: "users-email-norm", State: job.Running}, a.down
}
func (a *answers) SetLimits(_ context.Context, n api.JobName, values map[string]string) (api.Limited, error) {
	a.note("set %s %v", n, values)
	return api.Limited{}, a.down
}
func (a *answers) Hold(_ context.Context, db string, d time.Duration, reason string) (api.Held, error) {
	a.note("hold %s %s %q", db, d, reason)
	return api.Held{Until: now.Add(d)}, a.down
}
func (a *answers) Release(_ context.Context, db string) (api.Released, error) {
	a.note("release %s", db)
	return api.Released{}, a.down
}

const (
	normID = job.ID("01JNX4ZT0000000000000000AB")
	oldID  = job.ID("01JNX4ZT0000000000000000AA")
)

func running() job.Status {
	eta := job.ETA{Low: job.Duration(2*time.Hour + 5*time.Minute), High: job.Duration(3 * time.Hour), Note: "verification included"}
	st := job.Status{
		ID: normID, Name: "users-email-norm", Database: "main", Table: "public.users", State: job.Running, Revision: 4,
		Estimate: 120_000_000, EstimateBy: "reltuples", Ranges: job.RangeCounts{Total: 1402, Released: 870, Running: 5, Done: 520, Failed: 2, Skipped: 5},
		Rows: 26_012_400, Batches: 26_020, Retries: 1, Quarantine: 3, Fraction: 0.37199, Rate: 7213.6, ETA: &eta, Live: true,
		Lag: map[string]job.Lag{"standby1": {Seconds: 2.13, Bytes: 18_200_000}, "standby2": {Seconds: 0.04, Bytes: 900}},
		Limiting: []job.Reason{
			{Signal: "lag", Text: "lag of standby1 2.1s over target 1s", Observed: 2.1, Threshold: 1},
			{Signal: "rows", Text: "throttle.max_rows_per_second 50000"},
		},
		Lost: []job.Loss{{Signal: "lag of standby1", Share: 0.2345, Seconds: 844}, {Signal: "window", Share: 0.1, Seconds: 360}},
		Workers: []job.WorkerOnJob{
			{Worker: "db7-4711-0a1b2c3d", Range: 521, Rows: 12_000}, {Worker: "db7-4711-0a1b2c3d", Range: 522, Rows: 1},
			{Worker: "db8-99-0a1b2c3e", Range: 523}, {Worker: "db8-99-0a1b2c3e", Range: 524}, {Worker: "db9-7-0a1b2c3f", Range: 525},
		},
		Leases: 6, Stream: &job.StreamLag{Pending: 870, AckPending: 5}, By: "ann@ops1", Started: &started,
	}
	st.Limits = job.Spec{}.WithDefaults().Limits
	return st
}

// night is a fleet at three in the morning: one replica lags, one database is held, one does not answer.
func night() *answers {
	st := running()
	brake := job.Brake{Until: now.Add(10 * time.Minute), By: "ann@ops1", Reason: "incident 4711"}
	a := &answers{
		me: api.Me{Name: "oncall", Role: "operator"},
		dbs: []api.DatabaseHealth{
			{Name: "main", Reachable: true, Server: "18.1", Ledger: 2, Leader: &api.Leader{Owner: "ops1-1-aaaaaaaa", Epoch: 7}, Fleet: &api.Fleet{
				Workers: []api.Worker{
					{Worker: "db7-4711-0a1b2c3d", Build: "v1.4.0", Slots: 4, Busy: 2, Leases: 2},
					{Worker: "db8-99-0a1b2c3e", Build: "v1.4.0", Slots: 4, Busy: 2, Leases: 3},
				},
				Slots: 8, Lag: st.Lag, LagTarget: job.Duration(time.Second),
				Budget: &api.Budget{Rate: 7300, Leases: 5, Reasons: st.Limiting},
			}},
			{Name: "audit", Reachable: true, Server: "18.1", Ledger: 2, Leader: &api.Leader{Owner: "ops1-1-aaaaaaaa", Epoch: 7}, Brake: &brake,
				Fleet: &api.Fleet{HeldSince: &started, Lag: map[string]job.Lag{"far": {Seconds: 9, Missing: true}}, Budget: &api.Budget{Hold: true, Reasons: []job.Reason{brake.Why()}}}},
			{Name: "spare", Error: "cannot connect: connection refused"},
		},
		jobs: []api.JobLine{
			{Job: api.Job{ID: oldID, Name: "old", Database: "audit", Table: "events", State: job.CompleteWithErrors}},
			{Job: api.Job{ID: normID, Name: st.Name, Database: "main", Table: st.Table, State: st.State, Limits: st.Limits},
				Progress: &api.Progress{Fraction: st.Fraction, Rows: st.Rows, Live: true, Rate: st.Rate, ETA: st.ETA, Limiting: st.Limiting[0].Text}},
		},
		status: map[api.JobName]job.Status{api.JobName(normID): st},
	}
	for i := range 1402 {
		c := job.RangeCounts{Total: 1}
		switch {
		case i == 40 || i == 333:
			c.Failed = 1
		case i >= 100 && i < 105:
			c.Skipped = 1
		case i < 520:
			c.Done = 1
		case i < 525:
			c.Running = 1
		case i < 1300:
			c.Released = 1
		default:
			c.Queued = 1
		}
		a.blocks.Cells = append(a.blocks.Cells, c)
	}
	return a
}

// screen drives a model without a terminal: it runs what the model asks for but the ticks of the clock.
type screen struct {
	t     *testing.T
	model tea.Model
	fleet *answers
	clock time.Time
	quit  bool
}

func open(t *testing.T, fleet *answers, width, height int, id job.ID) *screen {
	t.Helper()
	s := &screen{t: t, fleet: fleet, clock: now}
	s.model = New(t.Context(), Options{Fleet: fleet, Where: "http://127.0.0.1:8080", Job: id, Now: func() time.Time { return s.clock }})
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	return s
}

func (s *screen) send(msg tea.Msg) {
	s.t.Helper()
	var cmd tea.Cmd
	s.model, cmd = s.model.Update(msg)
	s.run(cmd)
}

func (s *screen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	done := make(chan tea.Msg, 1)
	go func() { done <- cmd() }()
	var msg tea.Msg
	select {
	case msg = <-done:
	case <-time.After(5 * time.Second): // a tick comes after one
		s.t.Fatal("a command does not end")
	}
	switch msg := msg.(type) {
	case nil, tickMsg:
	case tea.QuitMsg:
		s.quit = true
	case tea.BatchMsg:
		for _, c := range msg {
			s.run(c)
		}
	default:
		s.send(msg)
	}
}

// pass lets a second go by.
func (s *screen) pass() {
	s.t.Helper()
	s.clock = s.clock.Add(time.Second)
	m := s.model.(model)
	m.now = s.clock
	m.asking = true
	s.model = m
	s.run(m.ask())
}

func (s *screen) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		switch k {
		case "enter":
			s.send(tea.KeyPressMsg{Code: tea.KeyEnter})
		case "esc":
			s.send(tea.KeyPressMsg{Code: tea.KeyEscape})
		case "up":
			s.send(tea.KeyPressMsg{Code: tea.KeyUp})
		case "down":
			s.send(tea.KeyPressMsg{Code: tea.KeyDown})
		case "backspace":
			s.send(tea.KeyPressMsg{Code: tea.KeyBackspace})
		default:
			for _, r := range k {
				s.send(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
	}
}

func (s *screen) frame() string { return s.model.View().Content }

func (s *screen) lines() []string { return strings.Split(s.frame(), "\n") }

// offered are the keys at the foot.
func (s *screen) offered() string {
	all := s.lines()
	return strings.TrimSpace(all[len(all)-1])
}

var errGone = errors.New("api: http://127.0.0.1:8080: dial tcp 127.0.0.1:8080: connect: connection refused")

// course lets the lag and the rate change for some seconds.
func (s *screen) course(seconds int) {
	s.t.Helper()
	for i := range seconds {
		lag := 0.2 + float64(i%12)*0.2
		s.fleet.dbs[0].Fleet.Lag = map[string]job.Lag{"standby1": {Seconds: lag}, "standby2": {Seconds: 0.04}}
		i := slices.IndexFunc(s.fleet.jobs, func(j api.JobLine) bool { return j.ID == normID })
		s.fleet.jobs[i].Progress.Rate = 9000 - 1000*lag
		s.pass()
	}
	st := running()
	s.fleet.dbs[0].Fleet.Lag = st.Lag
	i := slices.IndexFunc(s.fleet.jobs, func(j api.JobLine) bool { return j.ID == normID })
	s.fleet.jobs[i].Progress.Rate = st.Rate
	s.pass()
}
