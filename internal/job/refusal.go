package job

import (
	"fmt"
	"strings"
)

// Refusal is one thing in a spec that cannot go well, in the words of one line: the field, its value, why it is refused and
// what would be right.
type Refusal struct {
	Where string `json:"where,omitempty"` // "users.yaml:7" where the spec came from a file
	Field string `json:"field"`           // the dotted path in the spec; empty for the file as a whole
	Value string `json:"value,omitempty"` // as written; empty where there is none
	Why   string `json:"why"`
	Fix   string `json:"fix,omitempty"`
}

// Error returns the refusal as one line.
func (r Refusal) Error() string {
	var b strings.Builder
	if r.Where != "" {
		b.WriteString(r.Where + ": ")
	}
	if r.Field != "" {
		b.WriteString(shorten(oneLine(r.Field)) + ": ")
	}
	if r.Value != "" {
		fmt.Fprintf(&b, "%q ", shorten(oneLine(r.Value)))
	}
	b.WriteString(oneLine(r.Why))
	if r.Fix != "" {
		b.WriteString("; " + oneLine(r.Fix))
	}
	return b.String()
}

// Refusals is the error of a spec that was refused: nothing was changed. Its text has one line each.
type Refusals []Refusal

// Error returns one line a refusal.
func (rs Refusals) Error() string {
	lines := make([]string, len(rs))
	for i, r := range rs {
		lines[i] = r.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns rs as an error, nil when it is empty.
func (rs Refusals) Err() error {
	if len(rs) == 0 {
		return nil
	}
	return rs
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shorten keeps a value that someone pasted by mistake from filling the screen.
func shorten(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
