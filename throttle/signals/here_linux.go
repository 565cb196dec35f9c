package signals

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// runsHere reports whether the server runs on this machine: the backend that answered is a process here, and a server's. An
// address cannot tell, for tunnels and proxies have local ones too.
func runsHere(backend int) bool {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", backend))
	return err == nil && strings.TrimSpace(string(comm)) == "postgres"
}

// freeDisk is what a process without special rights may still fill of a directory's volume, and as a share of all that it may use.
func freeDisk(dir string) (bytes, share float64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	usable := s.Blocks - s.Bfree + s.Bavail
	if usable == 0 {
		return 0, 0, fmt.Errorf("volume of %s has no blocks", dir)
	}
	return float64(s.Bavail) * float64(s.Bsize), float64(s.Bavail) / float64(usable), nil
}
