package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// The units as they are, under systemd as process 1 of a machine of its own: namespaces over a copy-on-write view of this one. So
// the sandbox that they ask for is the one that they get.
func TestSystemdUnits(t *testing.T) {
	db := harness.Database(t)
	const rows = 60000
	for _, sql := range []string{
		"CREATE TABLE public.users (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0) WITH (fillfactor = 80)",
		fmt.Sprintf("INSERT INTO public.users SELECT i FROM generate_series(1, %d) i", rows), "ANALYZE",
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	s := newSite(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	s.must("db", "init")
	nats := harness.NATS(t)
	port := func() string {
		p, err := harness.Environment(t).Port()
		require.NoError(t, err)
		return fmt.Sprint(p)
	}
	api, first, second, wrong := port(), port(), port(), port()
	m := boot(t, s.bin, map[string]string{
		"backfleet.env":   fmt.Sprintf("BACKFLEET_DATABASE_MAIN=%s\nBACKFLEET_NATS_URL=%s\n", db.DSN, nats.URL()),
		"coordinator.env": "BACKFLEET_LISTEN=127.0.0.1:" + api + "\n",
		"worker.env":      "BACKFLEET_SLOTS=2\n",
	}, "backfleet-coordinator", "backfleet-worker@"+first, "backfleet-worker@"+second)
	coordinator, worker := "backfleet-coordinator", "backfleet-worker@"+first
	for _, unit := range []string{coordinator, worker, "backfleet-worker@" + second} {
		s.await(unit+" runs", func() error { return m.is(unit, "active") })
	}

	t.Run("are well-formed and closed", func(t *testing.T) {
		for _, unit := range []string{coordinator + ".service", worker + ".service"} {
			require.Empty(t, m.must("systemd-analyze", "verify", "--man=no", unit))
			m.must("systemd-analyze", "security", "--offline=true", "--threshold=15", "/etc/systemd/system/"+regexp.MustCompile(`@\d+`).ReplaceAllString(unit, "@"))
			said := m.must("systemd-analyze", "security", "--no-pager", unit)
			_, exposure, _ := strings.Cut(said, "Overall exposure level for ")
			t.Logf("exposure of %s", strings.TrimSpace(exposure))
		}
	})
	t.Run("give what they say", func(t *testing.T) {
		for _, unit := range []string{coordinator, worker} {
			pid := m.show(unit, "MainPID")
			status := m.must("cat", "/proc/"+pid+"/status")
			for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
				require.Contains(t, status, line, unit)
			}
			uid := strings.TrimSpace(m.must("id", "-u", "backfleet"))
			require.Regexp(t, `Uid:\t`+uid+`\t`+uid+`\t`+uid+`\t`+uid, status)
			for _, path := range []string{"/etc/x", "/usr/x", "/var/x"} {
				require.ErrorContains(t, m.run(nil, "nsenter", "-t", pid, "-m", "touch", path), "Read-only file system", unit)
			}
			environ := m.must("cat", "/proc/"+pid+"/environ")
			require.Contains(t, environ, "BACKFLEET_NATS_URL=")
			require.NotContains(t, m.must("cat", "/proc/"+pid+"/cmdline"), "postgres://", "no DSN in the process list")
		}
		require.Equal(t, "600 root", strings.TrimSpace(m.must("stat", "-c", "%a %U", "/etc/backfleet/backfleet.env")))
		require.Equal(t, "700 backfleet", strings.TrimSpace(m.must("stat", "-c", "%a %U", "/var/lib/backfleet")))
	})

	token := filepath.Join(s.dir, "token")
	require.NoError(t, os.WriteFile(token, []byte(m.must("cat", "/var/lib/backfleet/api.token")), 0o600))
	operator := newSite(t, "BACKFLEET_API=http://127.0.0.1:"+api, "BACKFLEET_API_TOKEN_FILE="+token)
	done := func() (n int64) {
		require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&n))
		return n
	}
	t.Run("carry a job over a stop and a kill", func(t *testing.T) {
		operator.must("submit", operator.spec("units", "public.users", "throttle: {max_rows_per_second: 6000}", "batch: {max_rows: 500}"))
		moving := func(share int64) {
			t.Helper()
			s.await("the job moves on", func() error {
				if n := done(); n < rows*share/100 {
					return fmt.Errorf("%d rows", n)
				}
				return nil
			})
		}
		moving(10)
		began := time.Now()
		m.must("systemctl", "stop", worker)
		took := time.Since(began)
		require.Equal(t, "success 0", m.show(worker, "Result")+" "+m.show(worker, "ExecMainStatus"))
		require.Less(t, took, 5*time.Second)
		t.Logf("SIGTERM in mid-batch: handed back and ended within %s", took.Round(time.Millisecond))

		other := "backfleet-worker@" + second
		before := m.show(other, "MainPID")
		m.must("systemctl", "kill", "--signal=SIGKILL", other)
		took = s.await("it is started again", func() error {
			if pid := m.show(other, "MainPID"); pid == before || pid == "0" {
				return errors.New("MainPID " + pid)
			}
			return m.is(other, "active")
		})
		t.Logf("SIGKILL: started again within %s", took.Round(time.Millisecond))
		m.must("systemctl", "kill", "--signal=SIGKILL", coordinator)
		m.must("systemctl", "start", worker)
		s.await("the coordinator is back", func() error { return m.is(coordinator, "active") })
		moving(60)
		st := s.awaitJob("units", job.Complete)
		require.EqualValues(t, rows, st.Rows)
		var sum string
		require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT count(*) || ' ' || min(counter) || ' ' || max(counter) FROM public.users").Scan(&sum))
		require.Equal(t, fmt.Sprintf("%d 1 1", rows), sum)
	})
	t.Run("keep a bad configuration failed", func(t *testing.T) {
		bad := "backfleet-worker@" + wrong
		m.must("mkdir", "-p", "/etc/systemd/system/"+bad+".service.d")
		m.must("sh", "-c", `printf '[Service]\nEnvironment=BACKFLEET_OPTIONS=--slots=0\n' >/etc/systemd/system/`+bad+`.service.d/bad.conf`)
		m.must("systemctl", "daemon-reload")
		require.NoError(t, m.run(nil, "systemctl", "start", "--no-block", bad))
		s.await("it has failed", func() error { return m.is(bad, "failed") })
		require.Equal(t, "2 0", m.show(bad, "ExecMainStatus")+" "+m.show(bad, "NRestarts"), "not started again")
		require.Contains(t, m.must("journalctl", "-u", bad, "-o", "cat"), "slots: 0 is not between")
	})
	t.Run("log lines that a machine reads", func(t *testing.T) {
		read := 0
		for line := range strings.Lines(m.must("journalctl", "_SYSTEMD_UNIT="+coordinator+".service", "-o", "cat")) {
			if strings.HasPrefix(line, "{") {
				var entry map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
				require.Contains(t, entry, "level")
				read++
			}
		}
		require.Positive(t, read)
	})
}

// machine is a systemd with a root of its own.
type machine struct {
	t    *testing.T
	init string // process 1, as this machine counts it
}

// boot installs the units as deploy/systemd/README.md says, enables some, and starts systemd. The root is an overlay: nothing is
// written to this machine. What else Debian would start is left out.
func boot(t *testing.T, bin string, etc map[string]string, units ...string) *machine {
	t.Helper()
	for _, program := range []string{"unshare", "nsenter", "systemctl", "systemd-sysusers"} {
		_, err := exec.LookPath(program)
		require.NoError(t, err, "run test/setup.sh systemd")
	}
	require.Zero(t, os.Getuid(), "systemd as process 1 needs root")
	staged := t.TempDir()
	for name, content := range etc {
		require.NoError(t, os.WriteFile(filepath.Join(staged, name), []byte(content), 0o600))
	}
	const script = `
set -eu
base=$1 staged=$2 bin=$3 deploy=$4; shift 4
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup" && mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
for d in run tmp var/lib; do mount -t tmpfs -o mode=755 tmpfs "$root/$d"; done
chmod 1777 "$root/tmp"
rm -rf "$root"/etc/systemd/system/*.wants "$root"/usr/lib/systemd/system/*.wants
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id" # without one it would be a first boot, which enables all that there is
install -m 755 "$bin" "$root/usr/bin/backfleet"
install -m 644 "$deploy"/*.service "$root/etc/systemd/system/"
install -m 644 "$deploy/backfleet.sysusers" "$root/usr/lib/sysusers.d/backfleet.conf"
install -d -m 700 "$root/etc/backfleet"
install -m 600 "$staged"/*.env "$root/etc/backfleet/"
chroot "$root" systemd-sysusers backfleet.conf
chroot "$root" systemctl enable "$@"
ln -s /usr/lib/systemd/system/systemd-journald.service "$root/etc/systemd/system/multi-user.target.wants/"
mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,ro,bind "$root/proc/sys"
mkdir "$root/before" && cd "$root"
pivot_root . before # no chroot: in one, the kernel makes no user namespace, which PrivateUsers= is
cd / && umount -l before && rmdir before
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
`
	args := append([]string{"--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--kill-child", "bash", "-c", script, "boot",
		t.TempDir(), staged, bin, filepath.Join(root(t), "deploy", "systemd")}, units...)
	p := harness.Start(t, "/usr/bin/unshare", args, nil)
	m := &machine{t: t}
	awaitUntil(t, "systemd is up", func() error {
		require.True(t, p.Running(), p.Output())
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
		if err != nil {
			return err
		}
		if m.init = strings.TrimSpace(string(children)); m.init == "" {
			return errors.New("no child yet")
		}
		if comm, err := os.ReadFile("/proc/" + m.init + "/comm"); err != nil || strings.TrimSpace(string(comm)) != "systemd" {
			return fmt.Errorf("process 1 is %s", comm)
		}
		return m.run(nil, "systemctl", "show", "--property=Version")
	})
	return m
}

// run runs a program inside.
func (m *machine) run(out *string, args ...string) error {
	enter := append([]string{"--target", m.init, "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"}, args...)
	said, err := exec.Command("nsenter", enter...).CombinedOutput()
	if out != nil {
		*out = string(said)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

func (m *machine) must(args ...string) (out string) {
	m.t.Helper()
	require.NoError(m.t, m.run(&out, args...))
	return out
}

func (m *machine) show(unit, property string) string {
	m.t.Helper()
	return strings.TrimSpace(m.must("systemctl", "show", unit, "--value", "--property="+property))
}

func (m *machine) is(unit, state string) error {
	var out string
	if err := m.run(&out, "systemctl", "show", unit, "--value", "--property=ActiveState"); err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != state {
		_ = m.run(&out, "systemctl", "status", "--no-pager", "--lines=5", unit)
		return fmt.Errorf("%s is %s: %s", unit, got, out)
	}
	return nil
}
