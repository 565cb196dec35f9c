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
