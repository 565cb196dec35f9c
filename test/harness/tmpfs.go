package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const tmpfsName = "tmpfs"

// ErrNoMount says that this program may not mount file systems here.
var ErrNoMount = errors.New("no small disk: mounting a tmpfs needs root")

// Tmpfs mounts a file system of so many bytes for this test, owned by the user that PostgreSQL runs as: a small disk that can be
// filled. It needs root.
func Tmpfs(t testing.TB, bytes int) (dir string) {
	t.Helper()
	dir, err := Environment(t).tmpfs(bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// tmpfs mounts one that is there until the Env is closed. The error is ErrNoMount where the kernel does not let this program.
func (e *Env) tmpfs(bytes int) (dir string, err error) {
	if dir, err = e.Dir(tmpfsName); err != nil {
		return "", err
	}
	user, err := postgresUser()
	if err != nil {
		return "", err
	}
	options := fmt.Sprintf("size=%d,mode=700", bytes)
	if user != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", user.Uid, user.Gid)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return "", fmt.Errorf("mount a tmpfs on %s: %w: %w", dir, ErrNoMount, err)
	}
	return dir, nil
}

// unmount takes a mount away, also while a server still has files open on it.
func unmount(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// unmountAll takes away what is mounted in a run directory.
func unmountAll(run string) {
	mounts, _ := filepath.Glob(filepath.Join(run, tmpfsName+"*"))
	for _, dir := range mounts {
		_ = unmount(dir)
		_ = os.Remove(dir)
	}
}
