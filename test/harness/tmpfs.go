package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Tmpfs mounts a file system of so many bytes for this test, owned by the user that PostgreSQL runs as: a small disk that can be
// filled. It needs root.
func Tmpfs(t testing.TB, bytes int) (dir string) {
	t.Helper()
	e := Environment(t)
	dir, err := e.Dir("tmpfs")
	if err != nil {
		t.Fatal(err)
	}
	user, err := postgresUser()
	if err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("size=%d,mode=700", bytes)
	if user != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", user.Uid, user.Gid)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a tmpfs on %s: %v (run this test as root)", dir, err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// unmount takes a mount away, also while a server still has files open on it.
func unmount(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// unmountAll takes away what a killed program left mounted in its run directory.
func unmountAll(run string) {
	mounts, _ := filepath.Glob(filepath.Join(run, "tmpfs*"))
	for _, dir := range mounts {
		_ = unmount(dir)
		_ = os.Remove(dir)
	}
}
