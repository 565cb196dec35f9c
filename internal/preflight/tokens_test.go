package preflight

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
		tokens, trailing := scan(c.x)
		var texts []string
		for _, tok := range tokens {
			texts = append(texts, tok.text)
		}
		if got := strings.Join(texts, " "); got != c.want || trailing != c.trailing {
			t.Errorf("scan(%q) = %q, %v", c.x, got, trailing)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, x := range []string{"a", "'", `"`, "$$", "$a$", "/*", "e'\\", "--"} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x string) {
		tokens, _ := scan(x)
		calls(tokens)
		hasSubquery(tokens)
		readsWholeRow(tokens, "a")
	})
}

func TestCalls(t *testing.T) {
	tokens, _ := scan(`random () + app.f(x) + "Weird"(1) + 'f(x)' + y`)
	bare, qualified := calls(tokens)
	if strings.Join(bare, " ") != "random Weird" || strings.Join(qualified, " ") != "f" {
		t.Errorf("bare %v, qualified %v", bare, qualified)
	}
}

func TestReadsWholeRow(t *testing.T) {
	for x, want := range map[string]bool{"to_jsonb(users)": true, "users.*": true, "users.a": false, "x.users": false, "'users'": false, "users": true} {
		tokens, _ := scan(x)
		if got := readsWholeRow(tokens, "users"); got != want {
			t.Errorf("%s: %v", x, got)
		}
	}
}

func TestServerTooOld(t *testing.T) {
	for number, want := range map[int]bool{130014: true, 140000: false, 180001: false} {
		if (Server{Number: number}).tooOld() != want {
			t.Errorf("%d", number)
		}
	}
}
