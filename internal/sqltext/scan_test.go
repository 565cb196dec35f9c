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
		{"a = '{{range}}' and {{range}} -- {{range}}", "a = '{{range}}' and {{range}}", true},
		{`"{{range}}" {{table}}`, "{{range}} {{table}}", false},
		{"{{ range }}", "{ { range } }", false},
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

func TestIs(t *testing.T) {
	tokens, _ := Scan(`SELECT "select" ;`)
	if !tokens[0].Is("from", "select") || tokens[1].Is("select") || !tokens[2].Is(";") {
		t.Errorf("%+v", tokens)
	}
}

// Every token stands where it says, in order, and none overlaps another.
func FuzzScan(f *testing.F) {
	for _, x := range []string{"a", "'", `"`, "$$", "$a$", "/*", "e'\\", "--", "{{range}}{{table}}"} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x string) {
		tokens, _ := Scan(x)
		at := 0
		for _, tok := range tokens {
			if tok.Start < at || tok.End <= tok.Start || tok.End > len(x) {
				t.Fatalf("%q: %+v after %d", x, tok, at)
			}
			at = tok.End
		}
	})
}
