// Package nearest finds the name that a person most likely meant.
package nearest

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Name returns the one of names that is closest to word, or "" when none is close: at most a third of its letters, or two,
// may differ; failing that, word may be the beginning of a name. Case does not count as a difference. Ties go to the
// earlier name.
func Name(word string, names []string) string {
	best, limit := "", max(2, len(word)/3)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(n)); d < limit && d < max(len(word), len(n)) {
			best, limit = n, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, n := range names {
		if strings.HasPrefix(strings.ToLower(n), strings.ToLower(word)) {
			return n
		}
	}
	return ""
}

// Hint returns `did you mean "x"?` for the closest of names, and otherwise where to look: `one of a, b, c`.
func Hint(word string, names []string) string {
	if n := Name(word, names); n != "" {
		return `did you mean "` + n + `"?`
	}
	if len(names) == 0 {
		return "there is none"
	}
	return "one of " + strings.Join(names, ", ")
}
