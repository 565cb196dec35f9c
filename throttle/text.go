package throttle

import "strconv"

// seconds shows a measured time to a person with one decimal: "2.1s".
func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) + "s" }

// fine shows a short time with two decimals at most: "0.25s".
func fine(s float64) string {
	return strconv.FormatFloat(float64(int64(s*100+0.5))/100, 'f', -1, 64) + "s"
}

// bytesText shows bytes in three digits or so: "14.2 MB".
func bytesText(b float64) string { return scaled(b, " ", "B") }

// rowsText shows rows in three digits or so: "21k rows".
func rowsText(n float64) string { return scaled(n, "", " rows") }

func scaled(v float64, gap, unit string) string {
	for _, step := range []struct {
		from float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= 0.9995*step.from {
			return digits(v/step.from) + gap + step.name + unit
		}
	}
	return digits(v) + gap + unit
}

// digits is one decimal below a hundred, and none beyond or where it is 0.
func digits(v float64) string {
	if v < 100 {
		v = float64(int64(v*10+0.5)) / 10
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
