package ranges

// Span is a piece of one relation's key space: [Lo, Hi), or [Lo, Hi] where HiClosed. A nil Lo is open below; a nil Hi is
// open above and is used only for a relation without a frozen bound, never for a planned range.
type Span struct {
	Lo       Key  `json:"lo"`
	Hi       Key  `json:"hi"`
	HiClosed bool `json:"hi_closed,omitempty"`
}

// String shows the span in interval notation.
func (s Span) String() string {
	end := ")"
	if s.HiClosed {
		end = "]"
	}
	return "[" + s.Lo.String() + ", " + s.Hi.String() + end
}

// Range is one planned span of one relation: the unit of delivery. Index counts over the whole job.
type Range struct {
	Index    int
	Relation uint32
	Span
}

// Checkpoint says how far a range is committed. It is compared whole and only advances.
//
// A chunk is a part of the range that is walked in K passes; plain key order is K = 1 with one chunk, the range itself.
// Key is where the next batch of the pass begins; an unbounded Key is the chunk's own start.
type Checkpoint struct {
	ChunkLo Key `json:"chunk_lo"`
	ChunkHi Key `json:"chunk_hi"`
	K       int `json:"k"`
	Pass    int `json:"pass"`
	Key     Key `json:"key"`
}

// Start is the checkpoint of a range that nobody has begun, in plain key order.
func Start(s Span) Checkpoint {
	return Checkpoint{ChunkLo: s.Lo, ChunkHi: s.Hi, K: 1, Key: s.Lo}
}

// Advance returns the checkpoint after a batch that ended at key.
func (c Checkpoint) Advance(to Key) Checkpoint {
	c.Key = to
	return c
}
