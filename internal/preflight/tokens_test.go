package preflight

import (
	"strings"
	"testing"

	"github.com/backfleet/backfleet/internal/sqltext"
)

func TestCalls(t *testing.T) {
	tokens, _ := sqltext.Scan(`random () + app.f(x) + "Weird"(1) + 'f(x)' + y`)
	bare, qualified := calls(tokens)
	if strings.Join(bare, " ") != "random Weird" || strings.Join(qualified, " ") != "f" {
		t.Errorf("bare %v, qualified %v", bare, qualified)
	}
}

func FuzzTokens(f *testing.F) {
	for _, x := range []string{"a", "a(b.*)", `"a".b(`, "select ("} {
		f.Add(x)
	}
	f.Fuzz(func(_ *testing.T, x string) {
		tokens, _ := sqltext.Scan(x)
		calls(tokens)
		hasSubquery(tokens)
		readsWholeRow(tokens, "a")
	})
}

func TestReadsWholeRow(t *testing.T) {
	for x, want := range map[string]bool{"to_jsonb(users)": true, "users.*": true, "users.a": false, "x.users": false, "'users'": false, "users": true} {
		tokens, _ := sqltext.Scan(x)
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
