package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// heapSpec is a job of a table of several ranges of blocks, none of whose rows is open at its end unless somebody opens it.
const heapSpec = "name: heap\ntable: t\nlate_rows: ignore\nset: {open: 'false'}\nwhere: open\nrows_per_range: 1000"

// heapTable is a table of 5,000 blocks, two rows each, whose key is not in the heap's order.
func heapTable() []string {
	return []string{
		"create table t (id bigint primary key, n int not null, pad text not null, open boolean not null default true)",
		"alter table t alter pad set storage plain",
		"insert into t (id, n, pad) select i, i, repeat('x', 3500) from generate_series(1, 10000) i order by hashint4(i)",
	}
}

// heldProof has the brake come on with the first range of blocks, in the transaction that begins the round: the snapshot is taken, and no
// count is committed.
const heldProof = `
	create function hold_proof() returns trigger language plpgsql as $$
	begin
		if new.file is not null and not exists (select from backfleet.brake) then perform backfleet.hold('5 minutes'); end if;
		return new;
	end $$;
	create trigger hold_proof after insert on backfleet.ranges for each row execute function hold_proof()`

func (f *fleet) heldInItsProof(j job.Job) {
	f.Helper()
	f.until("the proof is held", func() bool {
		return f.number("select count(*) from backfleet.brake") > 0 && f.number("select count(*) from pg_stat_activity where application_name like 'backfleet proof of%'") == 1
	})
	st := f.reaches(j, job.Verifying)
	require.Equal(f, 1, st.Round)
}

// Invariant 8, and what it costs: where nothing is open, one round in block order is the whole proof.
func TestAProofReadsBlocks(t *testing.T) {
	f := started(t, heapTable()...)
	j := f.submit(heapSpec)
	r := f.completes(j)
	require.Equal(t, 1, r.Rounds)
	require.Zero(t, *r.Residual)
	require.Zero(t, f.number("select count(*) from backfleet.ranges where kind = 'verify' and file is null"))
	require.Equal(t, 0, f.number("select sum(blocks_left) from backfleet.ranges where kind = 'verify'"))
	require.Equal(t, 10_000, f.number("select sum(walked) from backfleet.ranges where kind = 'verify'"))
	f.until("the snapshot is let go", func() bool {
		return f.number("select count(*) from pg_stat_activity where application_name like 'backfleet proof of%'") == 0
	})
}

// Invariant 8: rows that are open and move while the proof is under way are found, repaired, and named by their own key.
func TestARowThatMovesDuringTheProofIsFound(t *testing.T) {
	f := started(t, heapTable()...)
	f.exec(heldProof)
	j := f.inTheMiddle(heapSpec, 10, "update t set open = true where n in (select n from t where not open limit 3)")
	f.heldInItsProof(j)
	open := f.number("select count(*) from t where open")
	require.Equal(t, 3, open)
	f.exec("create table place as select id, ctid::text as was from t where open")
	f.exec("update t set pad = repeat('y', 3500) where open")
	require.Equal(t, 3, f.number("select count(*) from t join place using (id) where t.ctid::text <> place.was"), "they have moved")
	f.exec("select backfleet.release()")
	r := f.completes(j)
	require.Equal(t, int64(3), r.Repaired)
	require.Zero(t, f.number("select count(*) from t where open"))
}

// Invariant 8: blocks mean nothing in another file. A rewrite in the middle of the proof begins it anew.
func TestARewriteBeginsTheProofAnew(t *testing.T) {
	f := started(t, heapTable()...)
	f.exec(heldProof)
	j := f.inTheMiddle(heapSpec, 10, "update t set open = true where n in (select n from t where not open limit 3)")
	f.heldInItsProof(j)
	f.exec("vacuum full t")
	f.exec("select backfleet.release()")
	f.exec("drop trigger hold_proof on backfleet.ranges")
	r := f.completes(j)
	require.Equal(t, int64(3), r.Repaired)
	require.Equal(t, 1, f.number("select count(*) from backfleet.events where action = 'proof_begun_anew' and detail->>'reason' like '%was rewritten or replaced meanwhile'"))
	require.Zero(t, f.number("select count(*) from t where open"))
}

// A snapshot whose session is lost proves nothing: the round begins anew in another.
func TestALostSnapshotBeginsTheProofAnew(t *testing.T) {
	f := started(t, heapTable()...)
	f.exec(heldProof)
	j := f.submit(heapSpec)
	f.heldInItsProof(j)
	f.exec("drop trigger hold_proof on backfleet.ranges")
	f.exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'backfleet proof of%'")
	f.exec("select backfleet.release()")
	r := f.completes(j)
	require.Equal(t, 2, r.Rounds)
	require.Zero(t, *r.Residual)
	require.Equal(t, 1, f.number("select count(*) from backfleet.events where action = 'proof_begun_anew'"))
}

// A pause in the middle of the proof holds no snapshot.
func TestAPauseLetsTheSnapshotGo(t *testing.T) {
	f := started(t, heapTable()...)
	f.exec(heldProof)
	j := f.submit(heapSpec)
	f.heldInItsProof(j)
	f.exec("drop trigger hold_proof on backfleet.ranges")
	_, err := f.store.Pause(t.Context(), j.ID, "ann", "lunch")
	require.NoError(t, err)
	f.until("the snapshot is let go", func() bool {
		return f.number("select count(*) from pg_stat_activity where application_name like 'backfleet proof of%'") == 0
	})
	f.exec("select backfleet.release()")
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Zero(t, *f.completes(j).Residual)
}

// A snapshot that grows too old gives way to the rounds that walk keys.
func TestAnOldSnapshotGivesWayToKeys(t *testing.T) {
	f := started(t, heapTable()...)
	f.exec(heldProof)
	j := f.submit(heapSpec + "\nverify: {snapshot: 500ms}")
	f.until("the proof walks keys", func() bool {
		return f.number("select count(*) from backfleet.ranges where kind = 'verify' and file is null") == 10
	})
	require.Equal(t, 1, f.number("select count(*) from backfleet.events where detail->>'reason' like 'its snapshot is older than verify.snapshot%'"))
	f.exec("select backfleet.release()")
	r := f.completes(j)
	require.Equal(t, 2, r.Rounds)
}
