package ranges

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestParseKey(t *testing.T) {
	for in, want := range map[string]Key{
		`42`:                            {"42"},
		`-7`:                            {"-7"},
		`abc`:                           {"abc"},
		`2026-01-31 00:00:00+00`:        {"2026-01-31 00:00:00+00"},
		`"42"`:                          {"42"},
		`"null"`:                        {"null"},
		`""`:                            {""},
		`["a","7"]`:                     {"a", "7"},
		`[ "a", 7 ]`:                    {"a", "7"},
		`[12345678901234567890.10, ""]`: {"12345678901234567890.10", ""},
		`["[1]"]`:                       {"[1]"},
		`null`:                          nil,
	} {
		got, err := ParseKey(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for in, why := range map[string]string{
		``:             "is empty",
		"\xff":         "not valid UTF-8",
		"a\x00b":       "NUL",
		`["a\u0000"]`:  "value 1 holds a NUL",
		`[]`:           "names no column's value",
		`["a"`:         "not valid JSON",
		`["a"] x`:      "goes on after",
		`"a" "b"`:      "goes on after",
		`[null]`:       "value 1 is null",
		`["a", true]`:  "value 2 is neither text nor a number",
		`["a", ["b"]]`: "value 2 is neither text nor a number",
		`[{"a": 1}]`:   "value 1 is neither text nor a number",
	} {
		_, err := ParseKey(in)
		require.ErrorContains(t, err, why, in)
		require.ErrorContains(t, err, "write a key as", in)
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{`42`, `["a","7"]`, `null`, `"x"`, `[1e400]`, `["\ud800"]`, `["<>&\u2028"]`, `[`, "\x00", ` 1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			require.Nil(t, k)
			return
		}
		for _, text := range k {
			require.True(t, utf8.ValidString(text))
		}
		written := []byte("null")
		if !k.Unbounded() {
			written, err = json.Marshal(k)
			require.NoError(t, err)
		}
		again, err := ParseKey(string(written))
		require.NoError(t, err, "%q as %s", k, written)
		require.Equal(t, k, again)
	})
}
