package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as text ("25ms", "1s") in YAML and JSON.
type Duration time.Duration

// D returns the time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it like 25ms, 1s or 10m", b)
	}
	*d = Duration(v)
	return nil
}

// Bytes is a number of bytes that reads and writes as text ("20MiB") in YAML and JSON. A unit is B, KB, MB, GB, TB (powers of
// 1000) or KiB, MiB, GiB, TiB (powers of 1024), in any case; without one the number counts bytes.
type Bytes int64

// byteUnits are the units of [Bytes], the largest first, so that text becomes as short as it can exactly be.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// String is exact: the largest unit of which b is a whole multiple.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && u.size > 1 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, size := strings.TrimSpace(string(text)), int64(1)
	for _, u := range byteUnits {
		if at := len(number) - len(u.name); at > 0 && strings.EqualFold(number[at:], u.name) {
			number, size = strings.TrimSpace(number[:at]), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if v := n * float64(size); err == nil && v >= 0 && v < 1<<62 && plainNumber(number) {
		*b = Bytes(math.Round(v))
		return nil
	}
	return fmt.Errorf("%q is not a number of bytes; write it like 20MiB", text)
}

// plainNumber keeps out what only a programmer would write: hexadecimal, exponents, infinity.
func plainNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.") == ""
}
