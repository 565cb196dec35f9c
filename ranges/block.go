package ranges

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// A relation may be walked by the physical order of its rows instead of its key's. Then the keys of its spans are row addresses (TID) in
// Postgres' text form, such as (7,0): block 7, before its first row. They are the only keys whose order this package knows, and so their
// boundaries are arithmetic, without a look at the table.

// BlockKey is the key before the first row of a block. Of block 0 it is no bound at all.
func BlockKey(block int64) Key {
	if block <= 0 {
		return nil
	}
	return Key{fmt.Sprintf("(%d,0)", block)}
}

// Block is the block of a row address; 0 for the unbounded key.
func (k Key) Block() int64 {
	block, _ := k.address()
	return block
}

// BlocksOn is the key before the first row of the block that lies n blocks behind that of k.
func (k Key) BlocksOn(n int64) Key { return BlockKey(k.Block() + n) }

// AddressBefore reports whether the row address k lies before o; the unbounded key lies before every row.
func (k Key) AddressBefore(o Key) bool {
	block, row := k.address()
	oblock, orow := o.address()
	return block < oblock || block == oblock && row < orow
}

// address takes a row address apart. What is none counts as the start of the relation.
func (k Key) address() (block, row int64) {
	if len(k) != 1 {
		return 0, 0
	}
	b, r, ok := strings.Cut(strings.Trim(k[0], "()"), ",")
	if !ok {
		return 0, 0
	}
	block, err := strconv.ParseInt(b, 10, 64)
	if err != nil {
		return 0, 0
	}
	row, err = strconv.ParseInt(r, 10, 64)
	if err != nil {
		return 0, 0
	}
	return block, row
}

// BlockStepper finds boundaries between blocks, without I/O. RowsPerBlock is an average: ranges hold about as many rows as they should.
type BlockStepper struct{ RowsPerBlock float64 }

// Step implements [Stepper].
func (s BlockStepper) Step(_ context.Context, _ uint32, from, to Key, rows, count int) (bounds []Key, err error) {
	n := BlocksOf(rows, s.RowsPerBlock)
	for next := from.BlocksOn(n); len(bounds) < count && next.AddressBefore(to); next = next.BlocksOn(n) {
		bounds = append(bounds, next)
	}
	return bounds, nil
}

// BlocksOf is how many blocks hold about so many rows: one at least.
func BlocksOf(rows int, perBlock float64) int64 {
	return max(1, int64(float64(rows)/max(perBlock, 1)))
}
