package nearest

import "testing"

func TestName(t *testing.T) {
	names := []string{"where", "workers", "weight", "check", "id"}
	for word, want := range map[string]string{
		"wher": "where", "WHERE": "where", "worker": "workers", "chekc": "check", "frobnicate": "", "": "", "ie": "id", "xy": "", "wor": "workers",
	} {
		if got := Name(word, names); got != want {
			t.Errorf("Name(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestHint(t *testing.T) {
	if got := Hint("wher", []string{"where"}); got != `did you mean "where"?` {
		t.Error(got)
	}
	if got := Hint("frobnicate", []string{"a", "b"}); got != "one of a, b" {
		t.Error(got)
	}
	if got := Hint("x", nil); got != "there is none" {
		t.Error(got)
	}
}
