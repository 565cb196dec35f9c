-- One batch: the job's UPDATE and its checkpoint, under the claim's fence, or neither. It is a function, and not one statement with
-- RETURNING, because the server then counts the rows for nothing (ROW_COUNT) and need not plan the ledger's part anew for each batch.
-- Every statement of a function sees what was committed before it began, so what the lock waited for is known to all that follow it.

-- backfleet.lock locks the claim's ledger row if it still has this fence, this token and this checkpoint; `locked` is false where it
-- has not. A claim that raises the fence while this waits for the row makes it find none. So does a table that was swapped for
-- another of its name. The plan is made once for a session: seqscan off keeps it from being made for the few ranges of the start.
CREATE FUNCTION backfleet.lock(
    claimed_job text, claimed_index int, claimed_fence bigint, claimed_token uuid,
    at_lo text[], at_hi text[], at_k smallint, at_pass smallint, at_key text[], relation_name text,
    OUT locked boolean, OUT held boolean)
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    PERFORM 1 FROM backfleet.ranges
      WHERE job_id = claimed_job AND index = claimed_index
        AND fence = claimed_fence AND claim_token = claimed_token AND state = 'running'
        AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM (at_lo, at_hi, at_k, at_pass, at_key)
        AND relation = to_regclass(relation_name)
        FOR NO KEY UPDATE;
    locked := FOUND;
    held := EXISTS (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp());
END $$;

-- backfleet.advance moves the checkpoint of a range that this transaction has locked, renews its lease and adds to its counters.
CREATE FUNCTION backfleet.advance(
    claimed_job text, claimed_index int,
    to_lo text[], to_hi text[], to_k smallint, to_pass smallint, to_key text[],
    keys bigint, written bigint, ends boolean, relation_name text,
    OUT moved boolean)
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    UPDATE backfleet.ranges
       SET chunk_lo = to_lo, chunk_hi = to_hi, k = to_k, pass = to_pass, key = to_key,
           batches = batches + 1, walked = walked + keys, rows = rows + written, attempts = 0,
           lease_until = clock_timestamp() + interval '10 seconds',
           state = CASE WHEN ends THEN 'done' ELSE state END,
           ended_at = CASE WHEN ends THEN clock_timestamp() ELSE ended_at END
     WHERE job_id = claimed_job AND index = claimed_index AND relation = to_regclass(relation_name);
    moved := FOUND;
END $$;

-- backfleet.fill is the batch. The job's UPDATE is text that the caller's own role executes: this function gives nobody a right. It
-- finds its values in the one array $1. `held` says that the brake is on, `moved` is 1 where the checkpoint moved, `written` counts the rows.
CREATE FUNCTION backfleet.fill(
    claimed_job text, claimed_index int, claimed_fence bigint, claimed_token uuid,
    at_lo text[], at_hi text[], at_k smallint, at_pass smallint, at_key text[],     -- the checkpoint that must still stand
    to_lo text[], to_hi text[], to_k smallint, to_pass smallint, to_key text[],     -- the one that it moves to
    keys bigint, ends boolean, relation_name text, job_update text, job_values text[],
    OUT held boolean, OUT moved bigint, OUT written bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    fence record := backfleet.lock(claimed_job, claimed_index, claimed_fence, claimed_token,
                                   at_lo, at_hi, at_k, at_pass, at_key, relation_name);
BEGIN
    held := fence.held;
    moved := 0;
    written := 0;
    IF held OR NOT fence.locked THEN
        RETURN;
    END IF;
    EXECUTE job_update USING job_values;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF NOT backfleet.advance(claimed_job, claimed_index, to_lo, to_hi, to_k, to_pass, to_key, keys, written, ends, relation_name) THEN
        -- The UPDATE holds its table's lock, so the name cannot move away any more: it did just before.
        RAISE EXCEPTION 'table % was swapped for another while its batch began', relation_name
            USING ERRCODE = 'serialization_failure', HINT = 'Nothing was written; the batch is tried again.';
    END IF;
    moved := 1;
END $$;
