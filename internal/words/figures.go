// Package words puts figures and statuses into words for people: the command line and the terminal say the same thing the same way.
package words

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backfleet/backfleet/internal/job"
)

// Count shows a number with its thousands apart: 7,012,400.
func Count[N int | int64 | uint64](n N) string {
	digits := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var parts []string
	for len(digits) > 3 {
		parts = append(parts, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	parts = append(parts, digits)
	slices.Reverse(parts)
	return sign + strings.Join(parts, ",")
}

// Plural is "1 row", "2 rows".
func Plural[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if before, ok := strings.CutSuffix(what, "retry"); ok {
		return Count(n) + " " + before + "retries"
	}
	if strings.HasSuffix(what, "ch") {
		return Count(n) + " " + what + "es"
	}
	return Count(n) + " " + what + "s"
}

// Rate shows rows a second.
func Rate(r float64) string { return Count(int64(math.Round(r))) + " rows/s" }

// Percent shows a share with one decimal, rounded down so that 100 % means all.
func Percent(f float64) string {
	return strconv.FormatFloat(math.Floor(f*1000)/10, 'f', 1, 64) + " %"
}

// Size shows bytes in binary units.
func Size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return Count(n) + " B"
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// Long shows a duration in the two units that matter: 3d4h, 2h05m, 5m20s, 12s, 350ms.
func Long(d time.Duration) string {
	switch d = max(d, 0); {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dms", d/time.Millisecond)
}

// Within shows a range of durations: "2h05m to 3h10m", "about 5m20s", "at most 900ms".
func Within(low, high job.Duration) string {
	switch from, to := Long(low.D()), Long(high.D()); {
	case low.D() < time.Second:
		return "at most " + to
	case from == to:
		return "about " + to
	default:
		return from + " to " + to
	}
}

// At shows a time as logs do, in UTC.
func At(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// Lags shows every replica's lag, the most lagging first.
func Lags(all map[string]job.Lag, bytes bool) string {
	names := make([]string, 0, len(all))
	for n := range all {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := all[b].Seconds - all[a].Seconds; d != 0 {
			return int(math.Copysign(1, d))
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%s %.1f s", n, all[n].Seconds)
		switch {
		case all[n].Missing: // what it was last says nothing of now
			parts[i] = n + " missing"
		case bytes:
			parts[i] += " (" + Size(all[n].Bytes) + ")"
		}
	}
	return strings.Join(parts, ", ")
}

// Clip cuts a line to a terminal's width.
func Clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width-1, 0)]) + "…"
}
