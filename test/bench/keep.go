package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/bench/compare"
)

// keepFile is where the comparison's trials are kept, in the directory of the results and in that of the docs.
const keepFile = "compare.json"

// kept are the trials of an earlier run that was to be gone on with.
func (b *bench) kept() (compare.Run, error) {
	if b.out == "" {
		return compare.Run{}, nil
	}
	return readRun(filepath.Join(b.out, keepFile))
}

// readRun reads a run; of a file that is not there, an empty one.
func readRun(file string) (run compare.Run, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return run, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &run)
	}
	if err != nil {
		return run, fmt.Errorf("read the trials of %s: %w", file, err)
	}
	return run, nil
}

// keep writes the trials so far, so that a run that ends early can be gone on with.
func (b *bench) keep() error {
	if b.out == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.out, keepFile), b.run.JSON(), 0o600)
}

// document writes the run into the docs: its trials, the plots, and the text of benchmarks.md between its marks.
func document(docs string, run compare.Run) error {
	page := filepath.Join(docs, "benchmarks.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	written, err := run.Into(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	files, err := run.Plots()
	if err != nil {
		return err
	}
	for name, drawing := range files {
		if err := os.WriteFile(filepath.Join(docs, "img", name), drawing, 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(docs, "bench"), 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(docs, "bench", keepFile), run.JSON(), 0o644),
		os.WriteFile(page, []byte(written), 0o644))
}

// setting is when, of which commit and on what is measured.
func (b *bench) setting(ctx context.Context) (when, commit, machine string, err error) {
	conn, err := pgx.Connect(ctx, b.cluster.DSN("postgres"))
	if err != nil {
		return "", "", "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var postgres string
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&postgres); err != nil {
		return "", "", "", err
	}
	postgres, _, _ = strings.Cut(postgres, " ")
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		head = []byte("unknown")
	}
	processor, err := field("/proc/cpuinfo", "model name")
	if err != nil {
		return "", "", "", err
	}
	memory, err := field("/proc/meminfo", "MemTotal")
	if err != nil {
		return "", "", "", err
	}
	var kib float64
	if _, err := fmt.Sscan(memory, &kib); err != nil {
		return "", "", "", fmt.Errorf("read /proc/meminfo: %w", err)
	}
	machine = fmt.Sprintf("%d cores (%s), %.0f GiB, PostgreSQL %s, %s", runtime.NumCPU(), processor, kib/(1<<20), postgres, runtime.Version())
	return time.Now().Format(time.DateOnly), strings.TrimSpace(string(head)), machine, nil
}

// field is the first value of a name in one of the kernel's lists.
func field(file, name string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", file, name)
}
