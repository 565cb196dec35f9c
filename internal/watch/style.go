package watch

import "charm.land/lipgloss/v2"

// palette is how styles look; nil paints nothing.
type palette map[style]lipgloss.Style

// colors are the terminal's own sixteen, so that they are readable on whatever background it has. Where it has none, or NO_COLOR is
// set, bold and faint remain.
func colors() palette {
	base := lipgloss.NewStyle()
	return palette{
		strong: base.Bold(true),
		faint:  base.Faint(true),
		good:   base.Foreground(lipgloss.Green),
		warn:   base.Foreground(lipgloss.Yellow).Bold(true),
		bad:    base.Foreground(lipgloss.Red).Bold(true),
		busy:   base.Foreground(lipgloss.Cyan),
	}
}

func (p palette) paint(s style, text string) string {
	if look, ok := p[s]; ok && text != "" {
		return look.Render(text)
	}
	return text
}
