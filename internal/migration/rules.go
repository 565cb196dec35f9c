package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Shortened are the soaks of the file that are shorter than the rule.
func (s Spec) Shortened() (short []string) {
	rule := DefaultSoak()
	for _, f := range []struct {
		name      string
		soak, min Period
	}{{"dual_write", s.Soak.DualWrite, rule.DualWrite}, {"reads", s.Soak.Reads, rule.Reads}, {"drop", s.Soak.Drop, rule.Drop}} {
		if f.soak < f.min {
			short = append(short, f.name+" "+f.soak.String()+" instead of "+f.min.String())
		}
	}
	return short
}

// Hash tells one file's meaning from another's.
func (s Spec) Hash() string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // no field of a spec fails to marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
