package divergence

import (
	"context"
	"errors"
	"time"
)

// ErrWatchMoved says that somebody else has walked on: nothing was stored. Read where the watch stands, and go on from there.
var ErrWatchMoved = errors.New("the watch has moved on")

// Watch is where the watch of a migration stands.
type Watch struct {
	Position
	SinceXID uint64    // from which transaction on each row version is written under the trigger; 0: not known
	SinceAt  time.Time // when the watch began
	Started  time.Time // the round under way, or the last one; zero: there was none
	Ended    time.Time // of that round; zero: it has not
	// Before is when the last whole round before this one, or before the next one, began: a row found now without a better mark came to
	// diverge after it.
	Before time.Time
}

// Stride is what a walk saw between two positions.
type Stride struct {
	From, To  Position // To without Walking ends the round
	Tally     Tally
	Found     []Found
	More      bool          // diverging rows beyond Found
	Took      time.Duration // of the database's time
	Before    time.Time     // see [Watch.Before]
	CommitsAt bool          // the server keeps commit timestamps
	Tables    []string      // names by which a statement is known to be about the migration
}

// Ledger keeps what the watch finds.
type Ledger interface {
	// Watch reads where the watch of a migration stands, and begins one that nobody began.
	Watch(ctx context.Context, name string) (Watch, error)
	// AddStride stores what was seen together with the position, or, where the watch does not stand at From any more, nothing: the error is
	// then [ErrWatchMoved].
	AddStride(ctx context.Context, name string, x Stride) error
	// AddActivity keeps what was going on in the database since the call before.
	AddActivity(ctx context.Context, seen []Activity) error
}
