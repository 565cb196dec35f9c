// Package sqltext splits SQL into its tokens, so that strings, comments and quoted names are told from what is code.
package sqltext

import (
	"slices"
	"strings"
)

// The places of a job's statement that each batch fills in. They are tokens of their own.
const (
	Range = "{{range}}"
	Table = "{{table}}"
)

// Token is one lexical element of SQL. Comments and whitespace are left out.
type Token struct {
	Text       string // an unquoted name folded to lower case, a quoted one as it is; otherwise as written
	Name       bool
	Quoted     bool
	Start, End int // in bytes
}

// Is reports whether a token is one of these words, unquoted, or one of these signs.
func (t Token) Is(words ...string) bool { return !t.Quoted && slices.Contains(words, t.Text) }

// Scan splits SQL into tokens, well enough to see names, calls and subqueries; Postgres alone parses it. trailing reports a comment
// behind the last token.
func Scan(x string) (tokens []Token, trailing bool) {
	add := func(t Token, start, end int) {
		t.Start, t.End = start, end
		tokens = append(tokens, t)
	}
	for i := 0; i < len(x); {
		start := i
		switch c := x[i]; {
		case strings.HasPrefix(x[i:], "--"):
			i += until(x[i:], "\n")
			trailing = true
			continue
		case strings.HasPrefix(x[i:], "/*"):
			i += blockComment(x[i:])
			trailing = true
			continue
		case strings.IndexByte(" \t\n\r\f\v", c) >= 0:
			i++
			continue
		case c == '\'':
			escapes := len(tokens) > 0 && tokens[len(tokens)-1].Text == "e" && i > 0 && (x[i-1] == 'e' || x[i-1] == 'E')
			i += quoted(x[i:], '\'', escapes)
			add(Token{Text: x[start:i]}, start, i)
		case c == '"':
			i += quoted(x[i:], '"', false)
			inner := strings.TrimSuffix(x[start+1:i], `"`)
			add(Token{Text: strings.ReplaceAll(inner, `""`, `"`), Name: true, Quoted: true}, start, i)
		case c == '$' && dollarTag(x[i:]) != "":
			tag := dollarTag(x[i:])
			i += len(tag)
			i += until(x[i:], tag)
			add(Token{Text: x[start:i]}, start, i)
		case letter(c):
			for i < len(x) && (letter(x[i]) || x[i] >= '0' && x[i] <= '9' || x[i] == '$') {
				i++
			}
			add(Token{Text: strings.ToLower(x[start:i]), Name: true}, start, i)
		case place(x[i:]) != "":
			i += len(place(x[i:]))
			add(Token{Text: x[start:i]}, start, i)
		default:
			i++
			add(Token{Text: x[start:i]}, start, i)
		}
		trailing = false
	}
	return tokens, trailing
}

// place returns the place of a statement that x begins with, or "".
func place(x string) string {
	for _, p := range []string{Range, Table} {
		if strings.HasPrefix(x, p) {
			return p
		}
	}
	return ""
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// until returns how far x goes up to and with end.
func until(x, end string) int {
	if i := strings.Index(x, end); i >= 0 {
		return i + len(end)
	}
	return len(x)
}

func blockComment(x string) int {
	depth, i := 0, 0
	for i < len(x) {
		switch {
		case strings.HasPrefix(x[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(x[i:], "*/"):
			depth, i = depth-1, i+2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

func quoted(x string, q byte, escapes bool) int {
	for i := 1; i < len(x); i++ {
		switch {
		case escapes && x[i] == '\\':
			i++
		case x[i] == q && i+1 < len(x) && x[i+1] == q:
			i++
		case x[i] == q:
			return i + 1
		}
	}
	return len(x)
}

// dollarTag returns the $tag$ that x begins with, or "".
func dollarTag(x string) string {
	end := strings.IndexByte(x[1:], '$')
	if end < 0 {
		return ""
	}
	tag := x[:end+2]
	for i := 1; i < len(tag)-1; i++ {
		if !letter(tag[i]) && (i == 1 || tag[i] < '0' || tag[i] > '9') {
			return ""
		}
	}
	return tag
}
