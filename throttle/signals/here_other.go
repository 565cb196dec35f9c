//go:build !linux

package signals

import "errors"

func runsHere(int) bool { return false }

func freeShare(string) (float64, error) { return 0, errors.ErrUnsupported }
