package store

import (
	"context"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Undone returns the key below which all rows of a job are done, up to its frozen bound; nil where none is known to be, as in a
// partitioned table, whose leaves are carried beside each other, and in block order. left is false where all of them are done.
func (s *Store) Undone(ctx context.Context, id job.ID) (from ranges.Key, left bool, err error) {
	var relations int
	var blocks, unplanned, open bool
	var at, planned []string
	if err := s.pool.QueryRow(ctx, q("undone"), id).Scan(&relations, &blocks, &unplanned, &open, &at, &planned); err != nil {
		return nil, false, s.explain("find where job goes on", err)
	}
	switch {
	case relations != 1, blocks:
		return nil, relations == 0 || open || unplanned, nil
	case open:
		return at, true, nil
	case unplanned:
		return planned, true, nil
	}
	return nil, false, nil
}
