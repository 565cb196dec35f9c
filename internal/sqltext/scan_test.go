package sqltext

import (
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	for _, c := range []struct {
		x, want  string
		trailing bool
	}{
		{"lower(Email)", "lower ( email )", false},
		{`"We""ird" || 'it''s -- no comment'`, `We"ird | | 'it''s -- no comment'`, false},
		{`e'a\'b' || x`, `e 'a\'b' | | x`, false},
		{"$tag$ select $1 $tag$", "$tag$ select $1 $tag$", false},
		{"a -- one\n + b", "a + b", false},
		{"a /* /* nested */ still */ + b", "a + b", false},
		{"a -- end", "a", true},
		{"a /* open", "a", true},
		{"$1", "$ 1", false},
		{"'open", "'open", false},
		{"", "", false},
	} {
		tokens, trailing := Scan(c.x)
		var texts []string
		for _, tok := range tokens {
			texts = append(texts, tok.Text)
		}
		if got := strings.Join(texts, " "); got != c.want || trailing != c.trailing {
			t.Errorf("Scan(%q) = %q, %v", c.x, got, trailing)
		}
	}
}
