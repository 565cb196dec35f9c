// Package allocs keeps hot paths from allocating more than they did. Its test runs their benchmarks for a moment and compares the
// allocations of an op with those in baseline.txt; time is not looked at, for it is the machine's as much as the code's.
package allocs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Counts are the allocations of an op, by the benchmark's name: its package's folder, a dot, and what follows Benchmark.
type Counts map[string]int64

// String writes one line a benchmark, in the order of the names, as [Read] takes it.
func (c Counts) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%s %d\n", name, c[name])
	}
	return b.String()
}

// Read takes what [Counts.String] wrote. Lines that begin with # are a person's.
func Read(text string) (Counts, error) {
	c := Counts{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, count, ok := strings.Cut(line, " ")
		n, err := strconv.ParseInt(count, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("read a baseline: %q is not a name and a count", line)
		}
		c[name] = n
	}
	return c, nil
}

// Grown says, one line a benchmark, what allocates more than it did or is on one side only.
func Grown(was, is Counts) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		switch before, known := was[name]; {
		case !known:
			lines = append(lines, fmt.Sprintf("%s: %d allocations an op, and no baseline", name, is[name]))
		case is[name] > before:
			lines = append(lines, fmt.Sprintf("%s: %d allocations an op, was %d", name, is[name], before))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, there := is[name]; !there {
			lines = append(lines, fmt.Sprintf("%s: no such benchmark any more, was %d", name, was[name]))
		}
	}
	return lines
}

// Fewer says what allocates less than it did.
func Fewer(was, is Counts) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if before := was[name]; is[name] < before {
			lines = append(lines, fmt.Sprintf("%s: %d allocations an op, was %d", name, is[name], before))
		}
	}
	return lines
}

// Measure runs the benchmarks of packages, of which a Go command in the folder knows, but those that need a server: their names
// begin with Server. Each runs three times for as many ops as ops says, and the least counts: what the runtime allocates now and then is not
// the benchmark's.
func Measure(ctx context.Context, folder string, ops int, packages ...string) (Counts, error) {
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-skip", "^BenchmarkServer", "-benchmem", "-cpu", "1", "-count", "3",
		"-benchtime", fmt.Sprint(ops, "x")}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return parse(string(out))
}

// parse takes what `go test -bench -benchmem` prints.
func parse(out string) (Counts, error) {
	const module = "github.com/backfleet/backfleet/"
	c := Counts{}
	pkg := ""
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "pkg:" {
			pkg = strings.TrimPrefix(fields[1], module)
		}
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "Benchmark") || fields[len(fields)-1] != "allocs/op" {
			continue
		}
		n, err := strconv.ParseInt(fields[len(fields)-2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read a benchmark's line %q: %w", lines.Text(), err)
		}
		name := pkg + "." + strings.TrimPrefix(fields[0], "Benchmark")
		if before, again := c[name]; again {
			n = min(n, before)
		}
		c[name] = n
	}
	return c, cmp.Or(lines.Err(), none(c))
}

func none(c Counts) error {
	if len(c) == 0 {
		return errors.New("no benchmark ran")
	}
	return nil
}
