package coordinator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/store"
)

// What an ALTER TABLE wrote after a snapshot was taken is nothing to that snapshot: a proof in it would find no row open, for it would find
// none. So the files of before the snapshot are those of after it, or it is not used.
func TestASnapshotIsUsedForFilesThatWereThereBefore(t *testing.T) {
	before := []store.File{{Relation: 1, Filenode: 10, Blocks: 5}, {Relation: 2, Filenode: 20, Blocks: 7}}
	for _, c := range []struct {
		name  string
		after []store.File
		same  bool
	}{
		{"grown", []store.File{{Relation: 1, Filenode: 10, Blocks: 6}, {Relation: 2, Filenode: 20, Blocks: 7}}, true},
		{"rewritten", []store.File{{Relation: 1, Filenode: 11, Blocks: 5}, {Relation: 2, Filenode: 20, Blocks: 7}}, false},
		{"a leaf is gone", before[:1], false},
		{"another leaf", []store.File{{Relation: 1, Filenode: 10, Blocks: 5}, {Relation: 3, Filenode: 20, Blocks: 7}}, false},
	} {
		require.Equal(t, c.same, sameFiles(before, c.after), c.name)
	}
}
