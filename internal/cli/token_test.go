package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTokensAreMadeListedAndRevoked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	run := func(want int, args ...string) (string, string) {
		a, out, errs := newApp()
		require.Equal(t, want, a.run(t.Context(), append([]string{"token"}, args...)), "%v: %s", args, errs)
		return out.String(), errs.String()
	}
	secret, _ := run(exitOK, "new", "olga", "--role", "operator", "--database", "main,audit", "--expires", "90d", "--file", file)
	secret = strings.TrimSpace(secret)
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(kept), secret)
	run(exitOK, "new", "vera", "--role", "viewer", "--file", file)

	list, _ := run(exitOK, "list", "--file", file, "-o", "json")
	var lines []tokenLine
	require.NoError(t, json.Unmarshal([]byte(list), &lines))
	require.Len(t, lines, 2)
	require.Equal(t, []string{"main", "audit"}, lines[0].Databases)
	require.Equal(t, "valid", lines[0].State)
	require.NotContains(t, list, secret)
	text, _ := run(exitOK, "revoke", "olga", "--file", file)
	require.Equal(t, "1 token of olga revoked\n", text)
	text, _ = run(exitOK, "list", "--file", file)
	require.Regexp(t, `olga +operator +main,audit +revoked`, text)
	require.Regexp(t, `vera +viewer +all +valid +\S+ +never`, text)

	for want, args := range map[string][]string{
		"file: is missing":              {"new", "a", "--role", "viewer"},
		`"boss" is not a role`:          {"new", "a", "--role", "boss", "--file", file},
		"names nobody":                  {"new", "a b", "--role", "viewer", "--file", file},
		"not in the future":             {"new", "a", "--role", "viewer", "--expires", "2001-01-01T00:00:00Z", "--file", file},
		`"90x" is not in the future`:    {"new", "a", "--role", "viewer", "--expires", "90x", "--file", file},
		"is not a database's name":      {"new", "a", "--role", "viewer", "--database", "Main", "--file", file},
		`no token of "nobody" is valid`: {"revoke", "nobody", "--file", file},
		"no such file or directory":     {"revoke", "nobody", "--file", file + "x"},
	} {
		before, err := os.ReadFile(file)
		require.NoError(t, err)
		_, errs := run(exitRefused, args...)
		require.Contains(t, errs, want)
		after, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
	require.NoFileExists(t, file+"x.new")
}
