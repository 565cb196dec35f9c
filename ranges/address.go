package ranges

import (
	"fmt"
	"strconv"
	"strings"
)

// A relation may be walked by the physical order of its rows instead of its key's. Then the keys of its spans are row addresses in Postgres'
// text form, such as (7,0): block 7, before its first row. They are the only keys whose order this package knows, and so their boundaries are
// arithmetic, without a look at the table.

// Address is where a row version lies in its relation's file (type tid): in which block, and as which of its rows, from 1 on. Row 0 is none:
// it stands before the first one, so a span may end there open or closed alike.
type Address struct{ Block, Row int64 }

// AddressOf reads a row address as the type tid writes it. The unbounded key is the start of the relation.
func AddressOf(k Key) (Address, error) {
	if k.Unbounded() {
		return Address{}, nil
	}
	if len(k) == 1 {
		text, opened := strings.CutPrefix(k[0], "(")
		text, closed := strings.CutSuffix(text, ")")
		block, row, two := strings.Cut(text, ",")
		b, blockErr := strconv.ParseUint(block, 10, 32)
		r, rowErr := strconv.ParseUint(row, 10, 16)
		if opened && closed && two && blockErr == nil && rowErr == nil {
			return Address{int64(b), int64(r)}, nil
		}
	}
	return Address{}, fmt.Errorf("%s is no row address: one is written (block,row)", k)
}

// BlockOf is the block that a key of [BlockKey] is the start of.
func BlockOf(k Key) (int64, error) {
	a, err := AddressOf(k)
	if err == nil && a.Row != 0 {
		err = fmt.Errorf("%s is within a block, not at its start", k)
	}
	return a.Block, err
}

// Before reports whether a lies before o.
func (a Address) Before(o Address) bool {
	return a.Block < o.Block || a.Block == o.Block && a.Row < o.Row
}

// On is the start of the block that lies n blocks behind that of a.
func (a Address) On(n int64) Address { return Address{Block: a.Block + n} }

// Key is the address as a key; the start of the relation is no bound at all.
func (a Address) Key() Key {
	if a == (Address{}) {
		return nil
	}
	return Key{fmt.Sprintf("(%d,%d)", a.Block, a.Row)}
}

// BlockKey is the key before the first row of a block. Of block 0 it is no bound at all.
func BlockKey(block int64) Key { return Address{Block: block}.Key() }

// Ends reads both ends of a span, by [AddressOf] or by [BlockOf].
func Ends[T any](s Span, of func(Key) (T, error)) (lo, hi T, err error) {
	if lo, err = of(s.Lo); err == nil {
		hi, err = of(s.Hi)
	}
	return lo, hi, err
}

// BlockSpan holds the rows from one block to before another, which is not block 0.
func BlockSpan(from, to int64) Span { return Span{Lo: BlockKey(from), Hi: BlockKey(to)} }
