package migration

import (
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/words"
)

// rows writes a number with its thousands apart.
func rows(n int64) string { return words.Count(n) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// list names a few and counts the rest.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(len(names)-most) + " more"
	}
	return strings.Join(names, ", ")
}
