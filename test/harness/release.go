package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pinned names, inside the repository, the commit that stands for the previous release where no tag does.
const pinned = "test/versions/previous-release"

// PreviousRelease builds the command of the release before this one from the repository's history, and names its revision: the newest
// tag below HEAD, else the commit that test/versions/previous-release pins. Without the history it fails the test.
func PreviousRelease(t testing.TB) (bin, revision string) {
	t.Helper()
	e := Environment(t)
	revision, err := previousRevision()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := e.Dir("release")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "source.tar")
	for _, cmd := range [][]string{
		{"git", "archive", "--output=" + archive, revision},
		{"tar", "-xf", archive, "-C", dir},
	} {
		if _, err := printed(root, cmd[0], cmd[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	bin = filepath.Join(dir, "backfleet")
	if _, err := goCommand(dir, "build", "-buildvcs=false", "-o", bin, "./cmd/backfleet"); err != nil {
		t.Fatal(err)
	}
	return bin, revision
}

func previousRevision() (string, error) {
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	tags, err := printed(root, "git", "tag", "--merged", "HEAD", "--sort=-version:refname")
	if err != nil {
		return "", err
	}
	here, err := printed(root, "git", "tag", "--points-at", "HEAD")
	if err != nil {
		return "", err
	}
	for _, tag := range strings.Fields(tags) {
		if !slices.Contains(strings.Fields(here), tag) {
			return tag, nil
		}
	}
	commit, err := os.ReadFile(filepath.Join(root, pinned))
	if err != nil {
		return "", err
	}
	revision := strings.TrimSpace(string(commit))
	if _, err := printed(root, "git", "cat-file", "-e", revision+"^{commit}"); err != nil {
		return "", fmt.Errorf("the commit that %s pins is not in this clone: run git fetch --unshallow --tags: %w", pinned, err)
	}
	return revision, nil
}

// printed runs a program to its end and returns what it wrote.
func printed(dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, tail(stderr.String(), 20))
	}
	return string(out), nil
}
