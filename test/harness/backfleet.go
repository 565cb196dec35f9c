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

// BuildCommand builds another command of the repository into a new directory and returns the binary's path. module is the directory of
// the module that holds it, "." for the product's, and pkg the package in it.
func (e *Env) BuildCommand(module, pkg string) (string, error) {
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	dir, err := e.Dir("bin")
	if err != nil {
		return "", err
	}
	from := filepath.Join(root, module)
	bin := filepath.Join(dir, filepath.Base(filepath.Join(from, pkg)))
	_, err = goCommand(from, "build", "-o", bin, pkg)
	return bin, err
}
