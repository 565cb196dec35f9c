package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrNoPostgres says that this machine has no PostgreSQL server binaries.
var ErrNoPostgres = errors.New("no PostgreSQL server binaries found: install them (Debian: apt-get install postgresql), " +
	"or set BACKFLEET_TEST_PG_BIN to the directory that holds initdb and postgres")

// PostgresBin finds the directory with the PostgreSQL server's binaries: BACKFLEET_TEST_PG_BIN, else the newest
// version that Debian's packages installed, else the PATH.
func PostgresBin() (string, error) {
	if dir := os.Getenv("BACKFLEET_TEST_PG_BIN"); dir != "" {
		if !hasServer(dir) {
			return "", fmt.Errorf("BACKFLEET_TEST_PG_BIN=%s holds no initdb and postgres", dir)
		}
		return dir, nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return major(b) - major(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if hasServer(dir) {
			return dir, nil
		}
	}
	return "", ErrNoPostgres
}

// Majors are the major versions of PostgreSQL that Backfleet supports.
var Majors = []int{14, 15, 16, 17, 18}

// PostgresBinOf finds the binaries of one major version where `test/setup.sh versions` has put them. They are the server's only: no
// psql, no pg_basebackup.
func PostgresBinOf(major int) (string, error) {
	cache, err := versionsDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "node_modules", fmt.Sprintf("postgresql-%d", major), "native", "bin")
	if !hasServer(dir) {
		return "", fmt.Errorf("no PostgreSQL %d in %s: run test/setup.sh versions", major, dir)
	}
	return dir, nil
}

// versionsDir is where test/setup.sh keeps the other versions: root's must be readable by the user that PostgreSQL runs as.
func versionsDir() (string, error) {
	if dir := os.Getenv("BACKFLEET_TEST_VERSIONS"); dir != "" {
		return dir, nil
	}
	if os.Getuid() == 0 {
		return "/var/cache/backfleet/versions", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of PostgreSQL versions: %w", err)
	}
	return filepath.Join(cache, "backfleet", "versions"), nil
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// major reads 15 from /usr/lib/postgresql/15/bin.
func major(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// postgresUser is whom the server runs as: PostgreSQL refuses to run as root. Nil means: as this program's user.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uerr, gerr); err != nil {
			return nil, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

// postgresEnv is this program's environment without what would change a PostgreSQL program's behaviour.
func postgresEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG")
	})
	return append(env, "LC_ALL=C.UTF-8")
}
