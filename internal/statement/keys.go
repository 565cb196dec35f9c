package statement

import (
	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/ranges"
)

// Keys collects the keys that a query of this package returns.
func Keys(rows pgx.Rows, err error) ([]ranges.Key, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ranges.Key, error) {
		var k []string
		err := row.Scan(&k)
		return k, err
	})
}

// OneKey reads the first key of a query of this package; nil where there is none.
func OneKey(rows pgx.Rows, err error) (ranges.Key, error) {
	keys, err := Keys(rows, err)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	return keys[0], nil
}
