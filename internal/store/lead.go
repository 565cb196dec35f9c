package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotLeader says that another coordinator leads this database, or that nobody does; what was asked was not done.
var ErrNotLeader = errors.New("not the leader of this database")

// Lead takes or renews the leadership of the database for six seconds by its own clock. While another holds it the error is
// ErrNotLeader. A new epoch begins with each change of owner, each lapse and each WAL timeline.
func (s *Store) Lead(ctx context.Context, owner string) (*Leader, error) {
	var epoch int64
	err := s.tx(ctx, "lead", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q("lead"), owner).Scan(&epoch)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotLeader
	}
	if err != nil {
		return nil, err
	}
	return &Leader{Store: s, Owner: owner, Epoch: epoch}, nil
}

// LeaderName reads who leads and under which epoch; live is false where the lease has run out.
func (s *Store) LeaderName(ctx context.Context) (owner string, epoch int64, live bool, err error) {
	err = s.pool.QueryRow(ctx, q("leader")).Scan(&owner, &epoch, &live)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", 0, false, nil
	}
	return owner, epoch, live, err
}

// Leader is the ledger in the hands of one leadership. Each change holds the leadership row, so that a successor waits for it and
// none happens after.
type Leader struct {
	*Store
	Owner string
	Epoch int64
}

// Resign lets another lead at once.
func (l *Leader) Resign(ctx context.Context) error {
	_, err := l.exec(ctx, "resign", "lead_resign", l.Owner, l.Epoch)
	return err
}

// tx runs fn in a transaction that is refused, and rolled back, unless this leadership stands.
func (l *Leader) tx(ctx context.Context, op string, fn func(pgx.Tx) error) error {
	return l.Store.tx(ctx, op, func(tx pgx.Tx) error {
		var one int
		err := tx.QueryRow(ctx, q("lead_check"), l.Owner, l.Epoch).Scan(&one)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotLeader
		}
		if err != nil {
			return err
		}
		return fn(tx)
	})
}

// LeaderRenewal is how often a leadership is to be renewed: a third of its life.
const LeaderRenewal = 2 * time.Second
