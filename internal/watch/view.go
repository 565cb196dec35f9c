package watch

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/backfleet/backfleet/internal/words"
)

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.NewView(strings.Join(m.frame(), "\n"))
	v.AltScreen = true
	return v
}

// frame is the whole screen, a line a row: a header, the page, and at the foot what was said last and the keys.
func (m model) frame() []string {
	top := []line{m.header()}
	if m.lost != nil {
		what := "NO ANSWER"
		if m.lost.refused {
			what = "REFUSED"
		}
		top = append(top, line{say(bad, "%s for %s: ", what, words.Long(m.now.Sub(m.lost.since))), span{m.lost.why, plain}})
	}
	foot := m.foot()
	room := max(m.height-len(top)-len(foot), 0)
	var page []line
	at := 0
	switch {
	case m.help:
		page = helpPage()
	case m.facts.at.IsZero() && m.lost == nil:
		page = []line{nil, {span{"  asking ...", faint}}}
	case m.facts.at.IsZero():
	case m.job != "":
		page = m.jobPage(room)
	default:
		page, at = m.fleetPage()
	}
	if first := at - room + 2; first > 0 { // what is chosen stays in view
		page = page[min(first, len(page)):]
	}
	page = page[:min(len(page), room)]
	for len(page) < room {
		page = append(page, nil)
	}
	var out []string
	for _, l := range append(append(top, page...), foot...) {
		out = append(out, strings.TrimRight(l.render(m.width, m.look), " "))
	}
	return out[:min(len(out), m.height)]
}

// apart sets two texts at the two ends of a line; the right one goes where there is no room.
func apart(left, right line, width int) line {
	gap := width - left.cells() - right.cells()
	if gap < 1 {
		return left
	}
	return append(append(left, span{strings.Repeat(" ", gap), plain}), right...)
}

func (m model) header() line {
	right := line{span{m.now.UTC().Format("15:04:05Z"), faint}}
	if m.facts.me.Role != "" {
		right = line{say(faint, "%s (%s)  %s", m.facts.me.Name, m.facts.me.Role, m.now.UTC().Format("15:04:05Z"))}
	}
	return apart(line{span{"backfleet", strong}, say(faint, "  %s", m.where)}, right, m.width)
}

// foot is what is asked or was said last, and the keys that are offered.
func (m model) foot() []line {
	if p := m.prompt; p != nil {
		if p.read == nil {
			return []line{{span{p.order.question, warn}}, {span{"y", strong}, span{" yes   ", plain}, span{"any other key", strong}, span{" no", plain}}}
		}
		asked := line{span{p.label + " ", warn}, span{p.text + "_", strong}}
		about := line{span{p.hint, faint}, span{"   enter", strong}, span{" go on   ", plain}, span{"esc", strong}, span{" leave it", plain}}
		if p.wrong != "" {
			about = line{span{p.wrong, bad}}
		}
		return []line{asked, about}
	}
	said := line{}
	if m.notice.text != "" && m.now.Before(m.notice.until) {
		said = line{m.notice.span}
	}
	keys := line{}
	for _, o := range append(m.changes(), m.moves()...) {
		keys = append(keys, span{o.key, strong}, say(faint, " %s   ", o.what))
	}
	return []line{said, keys}
}

func helpPage() []line {
	var page []line
	for _, row := range [][2]string{
		{"↑ ↓  k j", "choose a database or a job"},
		{"enter", "open the job's page; esc goes back"},
		{"p  r", "pause or resume the job, once you have confirmed it"},
		{"l", "set limits of the job: PATH=VALUE..., as `backfleet set` takes them"},
		{"h  u", "hold every batch of the database for a time, or release it"},
		{"q", "quit; nothing stops because of it"},
	} {
		page = append(page, line{say(strong, "  %-9s", row[0]), span{"  " + row[1], plain}})
	}
	return append(append(page, nil, line{span{"  ", plain}, span{"range map, in key order", strong}}, append(line{span{"  ", plain}}, blockLegend()...)),
		nil, line{span{"  What your token may not do is not offered. Any key leaves this page.", faint}})
}
