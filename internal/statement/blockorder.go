package statement

// SQLSTATEs that the ledger's functions raise. Nothing of the statement that met one is kept.
const (
	// StillOpen: a row that a batch in block order wrote matches `where` still, and would be met again at its new place.
	StillOpen = "BF001"
	// Rewritten: the relation has another file than the one whose row addresses the range spans.
	Rewritten = "BF002"
)

// unless is what a batch in block order returns of each row that it wrote: nothing, for a row that still matches `where` is an error.
func (t Target) unless() string {
	return "\n RETURNING CASE WHEN " + Paren(t.Where) + " THEN backfleet.still_open(" + t.keyText() + ") END"
}

// sameFile is true, or an error where the relation of the claim has another file than its range is of.
func (s Step) sameFile(p *params) string {
	if s.Claim.File == 0 {
		return "true"
	}
	return "backfleet.same_file(" + p.add(Target{Schema: s.Claim.Schema, Name: s.Claim.Table}.Relation()) + ", " + p.add(s.Claim.File) + ")"
}
