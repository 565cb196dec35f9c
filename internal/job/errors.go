package job

import (
	"errors"
	"fmt"
	"time"
)

// Errors that say why a claim was refused. None of them is a fault: each tells what to do with the message.
var (
	// ErrStale: the range is done, dropped, failed, or was released anew since this message. Acknowledge it.
	ErrStale = errors.New("stale message")
	// ErrNotRunnable: the job may not run now. The range went back to the ledger; acknowledge the message.
	ErrNotRunnable = errors.New("job not runnable")
	// ErrFenced: another claim took the range over. Stop, and leave the message alone.
	ErrFenced = errors.New("fenced off: another claim took the range over")
	// ErrRewritten: the table has another file than the range's row addresses are of; the coordinator plans it anew.
	ErrRewritten = errors.New("table rewritten")
	// ErrRelationGone: the leaf partition was dropped or detached; its ranges are dropped.
	ErrRelationGone = errors.New("relation gone")
)

// BusyError says that an unexpired lease stands on the range, and for how long still.
type BusyError struct{ Remaining time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another worker's lease on the range stands for %s", e.Remaining.Round(time.Millisecond))
}
