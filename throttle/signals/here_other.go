//go:build !linux

package signals

import "errors"

func runsHere(int) bool { return false }

func freeDisk(string) (bytes, share float64, err error) { return 0, 0, errors.ErrUnsupported }
