package ranges

import (
	"fmt"
	"strconv"
	"strings"
)

// Block is the key of the first row version of a heap's block, in the text form of type tid. No row version has offset 0, so a span may end
// at a block open or closed alike.
func Block(n int64) Key { return Key{fmt.Sprintf("(%d,0)", n)} }

// BlockOf returns the block of a key that [Block] made; an unbounded one is that of block 0.
func BlockOf(k Key) (int64, error) {
	if k.Unbounded() {
		return 0, nil
	}
	if len(k) == 1 {
		block, offset, two := strings.Cut(strings.Trim(k[0], "()"), ",")
		if n, err := strconv.ParseInt(block, 10, 64); err == nil && two && offset == "0" && n >= 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s is no block: it is written (n,0)", k)
}

// CutBlocks tiles a heap of so many blocks with spans of at most each of them; none where there are none.
func CutBlocks(blocks, each int64) []Span {
	var spans []Span
	var lo Key
	for at := each; at < blocks; at += each {
		spans = append(spans, Span{Lo: lo, Hi: Block(at)})
		lo = Block(at)
	}
	if blocks > 0 {
		spans = append(spans, Span{Lo: lo, Hi: Block(blocks), HiClosed: true})
	}
	return spans
}
