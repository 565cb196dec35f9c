// Package flag holds the flag by which an application asks which schema to read: a percentage of all keys, decided by a hash that any
// language can compute. It is pure; the ledger's function backfleet.flag(name, key) decides the same in SQL.
package flag

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// Buckets is how finely keys are told apart: a bucket is a hundredth of a percent.
const Buckets = 10_000

// Percents are the percentages that a flag may have.
var Percents = []int{0, 1, 10, 100}

// Flag is how a flag stands. Its name is its migration's.
type Flag struct {
	Name     string    `json:"name"`
	Percent  int       `json:"percent"`  // of keys that read the new schema
	Since    time.Time `json:"since"`    // when the percentage was set, by the database's clock
	By       string    `json:"-"`        // who set it; applications need not know
	Revision int64     `json:"revision"` // raised by every change
}

// Bucket is where a key stands among the [Buckets] of a flag: the first four bytes of SHA-256 of "name:key" in UTF-8, as an unsigned
// big-endian number, modulo Buckets. It never changes, so a key that reads the new schema goes on to do so as the percentage grows, and
// the buckets of two flags have nothing to do with each other.
func Bucket(name, key string) int {
	h := sha256.Sum256([]byte(name + ":" + key))
	return int(binary.BigEndian.Uint32(h[:4]) % Buckets)
}

// On says whether a key reads the new schema.
func (f Flag) On(key string) bool { return Bucket(f.Name, key) < f.Percent*Buckets/100 }

// Check refuses a percentage that no flag may have.
func Check(percent int) error {
	if slices.Contains(Percents, percent) {
		return nil
	}
	all := make([]string, len(Percents))
	for i, p := range Percents {
		all[i] = strconv.Itoa(p)
	}
	return job.Refusals{{Field: "percent", Value: strconv.Itoa(percent), Why: "is no step of the ramp", Fix: "give one of " + strings.Join(all, ", ")}}
}
