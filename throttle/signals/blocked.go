package signals

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

//go:embed blocked.sql
var blockedSQL string

// blockedEvery is finer than the second for which a session must wait before it counts.
const blockedEvery = 500 * time.Millisecond

// Blocked reads how many sessions of others are at work, which is whether there is an application to spare, and how many of them wait
// for a lock that a session of ours holds, at most 16. It is not read while no batch may run.
type Blocked struct{ db Querier }

// NewBlocked returns a reader for one primary.
func NewBlocked(db Querier) *Blocked { return &Blocked{db: db} }

// Name implements [Source].
func (b *Blocked) Name() string { return throttle.SignalBlockedByUs }

// Every implements [Source].
func (b *Blocked) Every() time.Duration { return blockedEvery }

// IdleEvery implements [Idler].
func (b *Blocked) IdleEvery() time.Duration { return 0 }

// Read implements [Source].
func (b *Blocked) Read(ctx context.Context) []throttle.Reading {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	var working, n int64
	var who, role string
	var sees bool
	err := b.db.QueryRow(ctx, blockedSQL).Scan(&working, &n, &who, &role, &sees)
	switch {
	case err != nil:
		err = fmt.Errorf("read who waits for our locks: %s", plain(err))
	case !sees:
		err = hidden(role)
	}
	return []throttle.Reading{
		{Signal: throttle.SignalBlockedByUs, Value: float64(n), Detail: who, Err: err},
		{Signal: throttle.SignalForeground, Value: float64(working), Err: err},
	}
}
