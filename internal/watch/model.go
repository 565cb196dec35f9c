package watch

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

const (
	askEvery    = time.Second
	askShare    = 10 // an answer that takes long is asked for more rarely: a tenth of the time goes into it at most
	askMost     = 15 * time.Second
	blocksShare = 20 // the range map reads every range
	noticeFor   = 8 * time.Second
)

// Options make a screen.
type Options struct {
	Fleet Fleet
	Where string // what is asked, for the header
	// Job is the job to begin with; empty: the whole fleet.
	Job   job.ID
	Color bool
	Now   func() time.Time // nil: time.Now
}

// model is the screen's state. Update returns the next one and leaves the receiver as it is.
type model struct {
	ctx   context.Context // of the program: what it asks ends with it
	fleet Fleet
	where string
	look  palette
	clock func() time.Time

	width, height int
	now           time.Time
	facts         facts // the last that were told
	past          history
	lost          *lost // nil: the last question was answered
	asking        bool
	next          time.Time // of the next question
	blocks        *job.Blocks
	nextBlocks    time.Time

	job    job.ID // the job in view; empty: the fleet is
	chosen target
	help   bool
	prompt *prompt
	notice notice
}

// lost is since when the fleet does not tell its facts, and why.
type lost struct {
	since   time.Time
	refused bool // it answers, but not this token or not this question
	why     string
}

// notice is a line about what was just done.
type notice struct {
	span
	until time.Time
}

// target is what keys act on: a database, or a job of it.
type target struct {
	database string
	job      job.ID
}

// New returns the screen as a program's model. What it asks of the fleet ends with ctx.
func New(ctx context.Context, o Options) tea.Model {
	m := model{ctx: ctx, fleet: o.Fleet, where: o.Where, job: o.Job, clock: o.Now, width: 80, height: 24}
	if m.clock == nil {
		m.clock = time.Now
	}
	if o.Color {
		m.look = colors()
	}
	m.now = m.clock()
	return m
}

type (
	tickMsg time.Time
	toldMsg struct {
		facts
		question
		err error
	}
	doneMsg struct {
		text string
		err  error
	}
)

// Init implements tea.Model. The first tick comes at once, and asks.
func (m model) Init() tea.Cmd {
	clock := m.clock
	return func() tea.Msg { return tickMsg(clock()) }
}

func tick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tickMsg(t) }) }

// ask puts the question that the page in view needs.
func (m model) ask() tea.Cmd {
	ctx, fleet, clock, q := m.ctx, m.fleet, m.clock, question{job: m.job}
	if m.job != "" && !m.now.Before(m.nextBlocks) {
		q.blocks = m.blockCells()
	}
	return func() tea.Msg {
		f, err := ask(ctx, fleet, q, clock)
		return toldMsg{f, q, err}
	}
}

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.nextBlocks = time.Time{} // another width takes another number of cells
		return m.askNow()
	case tickMsg:
		m.now = time.Time(msg)
		if m.asking || m.now.Before(m.next) {
			return m, tick()
		}
		m.asking = true
		return m, tea.Batch(m.ask(), tick())
	case toldMsg:
		return m.told(msg), nil
	case doneMsg:
		m.notice = notice{span{msg.text, good}, m.now.Add(noticeFor)}
		if msg.err != nil {
			m.notice = notice{span{trouble(msg.err), bad}, m.now.Add(2 * noticeFor)}
		}
		m.next = time.Time{} // what was changed shows at once
		return m.askNow()
	case tea.PasteMsg:
		return m.typed(msg.Content), nil
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

// askNow asks again unless an answer is awaited.
func (m model) askNow() (model, tea.Cmd) {
	if m.asking {
		return m, nil
	}
	m.asking = true
	return m, m.ask()
}

// told takes what the fleet said. What was known stays in view while it says nothing.
func (m model) told(msg toldMsg) model {
	m.asking, m.now = false, later(m.now, msg.at)
	if msg.err != nil {
		if m.lost == nil {
			m.lost = &lost{since: msg.at}
		}
		kind := api.AsProblem(msg.err).Kind
		refused := kind == api.Unauthenticated || kind == api.Forbidden || kind == api.NotFound
		m.lost = &lost{since: m.lost.since, refused: refused, why: trouble(msg.err)}
		m.next = msg.at.Add(askEvery)
		return m
	}
	m.lost = nil
	m.next = msg.at.Add(min(max(askEvery, askShare*msg.took), askMost))
	m.past = m.past.with(msg.facts)
	m.facts = msg.facts
	if msg.facts.blocks != nil && msg.question.job == m.job {
		m.blocks, m.nextBlocks = msg.facts.blocks, msg.at.Add(blocksShare*msg.took)
	}
	if all := m.targets(); !slices.Contains(all, m.chosen) && len(all) > 0 {
		m.chosen = all[0]
		if i := slices.IndexFunc(all, func(t target) bool { return t.job != "" }); i >= 0 {
			m.chosen = all[i]
		}
	}
	return m
}

// targets lists what can be chosen, in the order in which it is shown.
func (m model) targets() (all []target) {
	for _, db := range m.facts.databases {
		all = append(all, target{database: db.Name})
	}
	for _, j := range m.facts.jobs {
		all = append(all, target{j.Database, j.ID})
	}
	return all
}

// view opens the page of a job, or the fleet's for none.
func (m model) view(id job.ID) (model, tea.Cmd) {
	m.job, m.blocks, m.nextBlocks, m.facts.status = id, nil, time.Time{}, nil
	m.next = time.Time{}
	return m.askNow()
}

// status is the job in view, nil while it is not known.
func (m model) status() *job.Status {
	if st := m.facts.status; st != nil && st.ID == m.job {
		return st
	}
	return nil
}

// line is a job of the list.
func (m model) line(id job.ID) (api.JobLine, bool) {
	i := slices.IndexFunc(m.facts.jobs, func(j api.JobLine) bool { return j.ID == id })
	if i < 0 {
		return api.JobLine{}, false
	}
	return m.facts.jobs[i], true
}

func (m model) database(name string) (api.DatabaseHealth, bool) {
	i := slices.IndexFunc(m.facts.databases, func(db api.DatabaseHealth) bool { return db.Name == name })
	if i < 0 {
		return api.DatabaseHealth{}, false
	}
	return m.facts.databases[i], true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// trouble is an error in one line.
func trouble(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
