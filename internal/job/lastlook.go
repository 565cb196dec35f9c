package job

import (
	"time"

	"github.com/backfleet/backfleet/ranges"
)

// LastLook is what one snapshot of a whole table, all its leaf partitions together, showed after a round of verification. In block order it
// is the proof: a row that moves while a round is under way may be missed by the round, but not by this.
type LastLook struct {
	Round      int          `json:"round"`
	At         time.Time    `json:"at"` // of the snapshot
	Blocks     int64        `json:"blocks"`
	Rows       int64        `json:"rows"`
	Residual   int64        `json:"residual"`
	CheckFails int64        `json:"check_failures"`
	Failing    []ranges.Key `json:"failing_keys,omitempty"` // some of them
	Took       Duration     `json:"took"`
}
