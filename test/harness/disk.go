package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SmallDisk is the tablespace on the servers' small disks.
const SmallDisk = "small"

// useDisk makes the tablespace on a server that does not run, if it has a small disk.
func (s *Server) useDisk() error {
	if s.Disk == "" {
		return nil
	}
	if err := s.Start(); err != nil {
		return err
	}
	return errors.Join(s.exec(fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", SmallDisk, s.Disk)), s.Stop())
}

// copyDisk copies another server's small disk to this one's, and has the copied data directory know it.
func (s *Server) copyDisk(from *Server) error {
	if s.Disk == "" {
		return nil
	}
	if err := s.run("/bin/cp", "-a", from.Disk+"/.", s.Disk); err != nil {
		return err
	}
	spaces, err := filepath.Glob(filepath.Join(s.DataDir(), "pg_tblspc", "*"))
	if err != nil {
		return err
	}
	for _, link := range spaces {
		if err := s.run("/bin/ln", "-sfn", s.Disk, link); err != nil {
			return err
		}
	}
	return nil
}

// clearDisk empties it.
func (s *Server) clearDisk() error {
	if s.Disk == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(s.Disk, "*"))
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(f))
	}
	return err
}

// FillDisk writes to a file on the small disk until nothing more fits, and returns what makes room again.
func (s *Server) FillDisk() (free func() error, err error) {
	path := filepath.Join(s.Disk, "filler")
	free = func() error { return os.Remove(path) }
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := file.Write(block); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				err = nil
			}
			return free, err
		}
	}
}
