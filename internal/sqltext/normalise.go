package sqltext

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostText is how much of a statement is kept, in bytes.
const mostText = 500

// Normalise returns a statement without its literals and comments: what stands in quotes, dollar quotes or as a number becomes "?". Quoted
// identifiers stay. Where it cannot be sure how a literal ends, such as after a backslash or where the text was cut off, it drops the rest.
func Normalise(sql string) string {
	var b strings.Builder
	space := func() {
		if b.Len() > 0 && !strings.HasSuffix(b.String(), " ") {
			b.WriteByte(' ')
		}
	}
	for sql != "" {
		switch c := sql[0]; {
		case strings.HasPrefix(sql, "--"):
			_, rest, _ := strings.Cut(sql, "\n")
			sql = rest
			space()
		case strings.HasPrefix(sql, "/*"):
			sql = afterComment(sql)
			space()
		case c == '\'':
			rest, sure := afterQuote(sql)
			if !sure {
				b.WriteString("? ...")
				return cut(b.String())
			}
			b.WriteByte('?')
			sql = rest
		case c == '$' && dollar.MatchString(sql):
			tag := dollar.FindString(sql)
			_, rest, found := strings.Cut(sql[len(tag):], tag)
			b.WriteByte('?')
			if !found {
				b.WriteString(" ...")
				return cut(b.String())
			}
			sql = rest
		case c == '"':
			end := strings.IndexByte(sql[1:], '"')
			if end < 0 {
				b.WriteString("...")
				return cut(b.String())
			}
			b.WriteString(sql[:end+2])
			sql = sql[end+2:]
		default:
			sql = sql[word(&b, sql, space):]
		}
	}
	return cut(strings.TrimSpace(b.String()))
}

var (
	dollar = regexp.MustCompile(`^\$([\pL_\x80-\xff][\pL\pN_\x80-\xff]*)?\$`)
	prefix = regexp.MustCompile(`^(?i)(e|b|x|n|u&)'`)
	number = regexp.MustCompile(`^(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[0-9A-Za-z_]*`)
	name   = regexp.MustCompile(`^[\pL_\x80-\xff][\pL\pN_$\x80-\xff]*`)
	param  = regexp.MustCompile(`^\$[0-9]+`)
)

// word writes what stands first, other than a quote, and returns its length.
func word(b *strings.Builder, sql string, space func()) int {
	switch m := prefix.FindString(sql); {
	case m != "":
		return len(m) - 1 // the quote itself is next
	case param.MatchString(sql):
		b.WriteByte('?')
		return len(param.FindString(sql))
	case name.MatchString(sql):
		b.WriteString(name.FindString(sql))
		return len(name.FindString(sql))
	case number.MatchString(sql):
		b.WriteByte('?')
		return len(number.FindString(sql))
	}
	r, n := utf8.DecodeRuneInString(sql)
	if unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError {
		space()
	} else {
		b.WriteRune(r)
	}
	return n
}

// afterQuote returns what follows a literal; sure is false where nobody knows where it ends. A backslash may or may not escape.
func afterQuote(sql string) (rest string, sure bool) {
	for i := 1; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			return "", false
		case '\'':
			if i+1 < len(sql) && sql[i+1] == '\'' {
				i++
				continue
			}
			return sql[i+1:], true
		}
	}
	return "", false
}

// afterComment returns what follows a comment, which may hold others; nothing where it does not end.
func afterComment(sql string) string {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return sql[i+1:]
			}
		}
	}
	return ""
}

// cut keeps the beginning, whole characters of it.
func cut(s string) string {
	if len(s) <= mostText {
		return s
	}
	s = s[:mostText]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + " ..."
}
