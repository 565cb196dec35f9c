package ranges

// Checkpoint says how far a range is committed. It is compared whole and only advances: by (ChunkLo, Pass, Key), in the key's order.
//
// A range is walked in plain key order or, piece by piece, in strided order: a chunk of it is walked K times, and each pass takes the
// keys whose hash falls to it. In plain order K is 1 and the chunk is all that is left of the range, so a new chunk may begin at any
// key. A strided chunk keeps its ends and its K from its first batch to its last, whoever walks it: they are part of what is
// committed, and never computed anew. After its last pass the checkpoint is in plain order again.
type Checkpoint struct {
	ChunkLo Key `json:"chunk_lo"`
	ChunkHi Key `json:"chunk_hi"`
	K       int `json:"k"`
	Pass    int `json:"pass"`
	// Key is where the next batch of the pass begins; an unbounded Key is the chunk's own start.
	Key Key `json:"key"`
}

// Pass is the part of a span that one pass over it takes: the keys with hash & (K-1) = N. K is a power of two. The zero Pass, and any
// with K 1, takes every key.
type Pass struct{ K, N int }

// Whole reports whether the pass takes every key.
func (p Pass) Whole() bool { return p.K <= 1 }

// Start is the checkpoint of a range that nobody has begun: plain key order.
func Start(s Span) Checkpoint { return plain(s, s.Lo) }

// plain is the checkpoint of a range of which all below key is done.
func plain(s Span, key Key) Checkpoint {
	return Checkpoint{ChunkLo: key, ChunkHi: s.Hi, K: 1, Key: key}
}

// Strided reports whether the checkpoint stands in a chunk that is walked in several passes.
func (c Checkpoint) Strided() bool { return c.K > 1 }

// Turn is the pass that the next batch belongs to.
func (c Checkpoint) Turn() Pass { return Pass{K: c.K, N: c.Pass} }

// Open begins a chunk that ends at hi and is walked in k passes, where the checkpoint stands. Where it is in a strided chunk already
// it stays as it is: the order changes only between chunks.
func (c Checkpoint) Open(hi Key, k int) Checkpoint {
	if c.Strided() {
		return c
	}
	return Checkpoint{ChunkLo: c.Key, ChunkHi: hi, K: k, Key: c.Key}
}

// Left is what the present pass over the chunk has still to walk. A chunk that ends where the range does is closed where the range is.
func (c Checkpoint) Left(of Span) Span {
	return Span{Lo: c.Key, Hi: c.ChunkHi, HiClosed: of.HiClosed && c.ChunkHi.Equal(of.Hi)}
}

// Advance returns the checkpoint after a batch that ended before key, within a pass.
func (c Checkpoint) Advance(key Key) Checkpoint {
	c.Key = key
	return c
}

// EndPass returns the checkpoint after the batch that ended the pass: the next pass begins at the chunk's start; after the last one the
// rest of the range stands in plain order. done: there is no rest.
func (c Checkpoint) EndPass(of Span) (next Checkpoint, done bool) {
	if c.Pass+1 < c.K {
		c.Pass, c.Key = c.Pass+1, c.ChunkLo
		return c, false
	}
	return plain(of, c.ChunkHi), c.ChunkHi.Equal(of.Hi)
}
