package harness

import "path/filepath"

// BuildBackfleet builds ./cmd/backfleet, once for the Env, and returns the binary's path.
func (e *Env) BuildBackfleet() (string, error) { return e.backfleet() }

func (e *Env) buildBackfleet() (string, error) {
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	dir, err := e.Dir("bin")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "backfleet")
	_, err = goCommand(root, "build", "-o", bin, "./cmd/backfleet")
	return bin, err
}
