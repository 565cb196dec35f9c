package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

// order is a change that is ready to be asked for.
type order struct {
	question string // what a person confirms
	do       func(context.Context, Fleet) (string, error)
}

// prompt asks a person: first for a text, where one is needed, then whether it is meant.
type prompt struct {
	label string // before what is typed
	hint  string
	text  string
	wrong string                      // why what was typed cannot be
	read  func(string) (order, error) // nil: nothing is typed
	order order                       // what is to be confirmed, once read is nil
}

// offer is a key and what it does. What the token may not do, or what makes no sense now, is not offered.
type offer struct {
	key, what string
	start     func() prompt
}

// moves are the keys that change nothing.
func (m model) moves() []offer {
	switch {
	case m.job != "":
		return []offer{{key: "esc", what: "fleet"}, {key: "q", what: "quit"}, {key: "?", what: "help"}}
	case m.chosen.job != "":
		return []offer{{key: "q", what: "quit"}, {key: "?", what: "help"}, {key: "enter", what: "open"}, {key: "↑↓", what: "choose"}}
	}
	return []offer{{key: "q", what: "quit"}, {key: "?", what: "help"}, {key: "↑↓", what: "choose"}}
}

// changes are the keys that change something about what is chosen.
func (m model) changes() (all []offer) {
	if !m.facts.me.May(api.Operator) {
		return nil
	}
	at := m.chosen
	if m.job != "" {
		at = target{job: m.job}
		if st := m.status(); st != nil {
			at.database = st.Database
		}
	}
	if j, ok := m.line(at.job); ok {
		at.database = j.Database
		all = append(all, changesOfJob(j)...)
	}
	if db, ok := m.database(at.database); ok && db.Reachable && db.Ledger > 0 {
		all = append(all, changesOfDatabase(db)...)
	}
	return all
}

func changesOfJob(j api.JobLine) (all []offer) {
	n := api.JobName(j.ID)
	confirm := func(verb string, do func(context.Context, Fleet) (api.Job, error)) func() prompt {
		return func() prompt {
			return prompt{order: order{verb + " " + j.Name + "?", func(ctx context.Context, f Fleet) (string, error) {
				changed, err := do(ctx, f)
				return fmt.Sprintf("%s is %s", changed.Name, changed.State), err
			}}}
		}
	}
	switch j.State {
	case job.Planning, job.Running, job.Verifying:
		all = append(all, offer{"p", "pause", confirm("pause", func(ctx context.Context, f Fleet) (api.Job, error) { return f.Pause(ctx, n, "") })})
	case job.Paused:
		all = append(all, offer{"r", "resume", confirm("resume", func(ctx context.Context, f Fleet) (api.Job, error) { return f.Resume(ctx, n) })})
	default:
	}
	if !j.State.Ended() {
		all = append(all, offer{"l", "limits", func() prompt {
			return prompt{label: "set " + j.Name, hint: "PATH=VALUE..., such as workers.max=" + fmt.Sprint(j.Limits.Workers.Max),
				read: func(text string) (order, error) { return limitsOrder(j, text) }}
		}})
	}
	return all
}

func limitsOrder(j api.JobLine, text string) (order, error) {
	values := map[string]string{}
	for _, word := range strings.Fields(text) {
		path, value, ok := strings.Cut(word, "=")
		if !ok || path == "" {
			return order{}, fmt.Errorf("%q is no PATH=VALUE", word)
		}
		values[path] = value
	}
	_, changes, err := j.Limits.Set(values) // the fleet sets them over what they are by then
	changes = slices.DeleteFunc(changes, func(c job.Change) bool { return c.Old == c.New })
	switch {
	case err != nil:
		return order{}, err
	case len(changes) == 0:
		return order{}, errors.New("that is what it is already")
	}
	parts := make([]string, len(changes))
	for i, c := range changes {
		parts[i] = words.Change(c)
	}
	what := strings.Join(parts, ", ")
	return order{fmt.Sprintf("set %s %s?", j.Name, what), func(ctx context.Context, f Fleet) (string, error) {
		got, err := f.SetLimits(ctx, api.JobName(j.ID), values)
		said := j.Name + " set: " + what
		if len(got.Warnings) > 0 {
			said += "; " + strings.Join(got.Warnings, "; ")
		}
		return said, err
	}}, nil
}

func changesOfDatabase(db api.DatabaseHealth) []offer {
	if db.Brake != nil {
		return []offer{{"u", "release", func() prompt {
			return prompt{order: order{fmt.Sprintf("release %s, which is %s?", db.Name, db.Brake.Why().Text), func(ctx context.Context, f Fleet) (string, error) {
				_, err := f.Release(ctx, db.Name)
				return db.Name + " is released", err
			}}}
		}}}
	}
	return []offer{{"h", "hold", func() prompt {
		return prompt{label: "hold every batch of " + db.Name + " for", hint: "TIME REASON..., such as 10m incident 4711",
			read: func(text string) (order, error) { return holdOrder(db.Name, text) }}
	}}}
}

func holdOrder(database, text string) (order, error) {
	howLong, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
	d, err := time.ParseDuration(howLong)
	if err != nil || d < time.Second || d > job.MaxOverride {
		return order{}, fmt.Errorf("%q is not a time; write 10m or 1h, %s at most", howLong, words.Long(job.MaxOverride))
	}
	reason = strings.TrimSpace(reason)
	question := fmt.Sprintf("hold every batch of %s for %s", database, howLong)
	if reason != "" {
		question += ": " + reason
	}
	return order{question + "?", func(ctx context.Context, f Fleet) (string, error) {
		held, err := f.Hold(ctx, database, d, reason)
		return fmt.Sprintf("%s is held until %s", database, words.At(held.Until)), err
	}}, nil
}

// key acts on a key.
func (m model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	if k.String() == "ctrl+c" {
		return m, tea.Quit
	}
	if m.prompt != nil {
		return m.answer(k)
	}
	m.notice = notice{}
	if m.help {
		m.help = false
		return m, nil
	}
	switch k.String() {
	case "q":
		return m, tea.Quit
	case "ctrl+z":
		return m, tea.Suspend
	case "?":
		m.help = true
		return m, nil
	case "esc", "backspace", "left":
		if m.job != "" {
			return m.view("")
		}
		return m, nil
	case "enter", "right":
		if m.job == "" && m.chosen.job != "" {
			return m.view(m.chosen.job)
		}
		return m, nil
	case "up", "k":
		return m.move(-1), nil
	case "down", "j":
		return m.move(1), nil
	}
	for _, o := range m.changes() {
		if o.key == k.String() {
			p := o.start()
			m.prompt = &p
			return m, nil
		}
	}
	if !m.facts.me.May(api.Operator) && slices.Contains([]string{"p", "r", "l", "h", "u"}, k.String()) && m.facts.me.Role != "" {
		m.notice = notice{say(warn, "this token is %s's, a %s: it may look, and change nothing", m.facts.me.Name, m.facts.me.Role), m.now.Add(noticeFor)}
	}
	return m, nil
}

// move chooses another target; on a job's page there is nothing to choose.
func (m model) move(by int) model {
	all := m.targets()
	i := slices.Index(all, m.chosen)
	if m.job != "" || i < 0 {
		return m
	}
	m.chosen = all[min(max(i+by, 0), len(all)-1)]
	return m
}

// answer takes a key while something is asked.
func (m model) answer(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	p := *m.prompt
	if p.read == nil {
		m.prompt = nil
		if k.String() != "y" && k.String() != "Y" {
			m.notice = notice{span{"nothing was changed", faint}, m.now.Add(noticeFor)}
			return m, nil
		}
		ctx, fleet := m.ctx, m.fleet
		m.notice = notice{span{"asked; waiting for the answer", faint}, m.now.Add(askTimeout)}
		return m, func() tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			text, err := p.order.do(ctx, fleet)
			return doneMsg{text, err}
		}
	}
	switch k.String() {
	case "esc":
		m.prompt = nil
		m.notice = notice{span{"nothing was changed", faint}, m.now.Add(noticeFor)}
		return m, nil
	case "enter":
		ready, err := p.read(p.text)
		if err != nil {
			p.wrong = trouble(err)
		} else {
			p = prompt{order: ready}
		}
	case "backspace":
		if r := []rune(p.text); len(r) > 0 {
			p.text = string(r[:len(r)-1])
		}
		p.wrong = ""
	case "ctrl+u":
		p.text, p.wrong = "", ""
	default:
		return m.typed(k.Text), nil
	}
	m.prompt = &p
	return m, nil
}

// typed adds text to what is typed.
func (m model) typed(text string) model {
	if m.prompt == nil || m.prompt.read == nil {
		return m
	}
	p := *m.prompt
	p.text, p.wrong = p.text+clean(text), ""
	m.prompt = &p
	return m
}
