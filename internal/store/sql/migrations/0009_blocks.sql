-- Jobs that walk their table as its rows lie in it. Their ranges span row addresses, which mean nothing once the table has another file:
-- VACUUM FULL, CLUSTER, pg_repack, TRUNCATE and some ALTER TABLEs write one.

ALTER TABLE backfleet.jobs ADD COLUMN walk text NOT NULL DEFAULT 'key'; -- or block
ALTER TABLE backfleet.jobs ADD COLUMN last_look jsonb;                  -- the whole table as one snapshot saw it, after the round that it names
ALTER TABLE backfleet.relations ADD COLUMN IF NOT EXISTS file oid;                    -- whose row addresses its plan is of; NULL: its plan is of keys
ALTER TABLE backfleet.ranges ADD COLUMN IF NOT EXISTS file oid;                       -- the same, of a range

-- backfleet.still_open is what becomes of a row that a batch wrote and that its `where` still takes: at its new place it would be done again.
CREATE FUNCTION backfleet.still_open(key text[]) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'row % still matches `where` after `set`', array_to_string(key, ', ')
        USING ERRCODE = 'BF001', HINT = 'Write a where that the set makes false, or submit the job with order: key.';
END $$;

-- backfleet.same_file is an error where a relation has another file than the one that is expected. It is for those who hold a lock on it:
-- then the answer stays true.
CREATE FUNCTION backfleet.same_file(relation_name text, expected oid) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    IF pg_relation_filenode(to_regclass(relation_name)) IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'table % was written anew since its plan, so the row addresses of the plan mean nothing', relation_name
            USING ERRCODE = 'BF002', HINT = 'The coordinator plans it anew.';
    END IF;
    RETURN true;
END $$;

-- backfleet.fill_blocks is backfleet.fill over row addresses of a file. The UPDATE has the table's lock by the time that the file is
-- looked at; without one there is nothing to look at.
CREATE FUNCTION backfleet.fill_blocks(
    claimed_job text, claimed_index int, claimed_fence bigint, claimed_token uuid,
    at_lo text[], at_hi text[], at_k smallint, at_pass smallint, at_key text[],
    to_lo text[], to_hi text[], to_k smallint, to_pass smallint, to_key text[],
    keys bigint, ends boolean, relation_name text, job_update text, job_values text[], file oid,
    OUT held boolean, OUT moved bigint, OUT written bigint)
    LANGUAGE plpgsql AS $$
BEGIN
    SELECT f.held, f.moved, f.written INTO held, moved, written
      FROM backfleet.fill(claimed_job, claimed_index, claimed_fence, claimed_token, at_lo, at_hi, at_k, at_pass, at_key,
                          to_lo, to_hi, to_k, to_pass, to_key, keys, ends, relation_name, job_update, job_values) f;
    IF moved = 1 THEN
        PERFORM backfleet.same_file(relation_name, file);
    END IF;
END $$;

-- Programs of the version before take row addresses for keys, and one of a text key would find a span of them done that it never saw. Those
-- that know better say so, in each transaction in which it matters.
CREATE FUNCTION backfleet.knows_blocks() RETURNS boolean
    LANGUAGE sql AS $$ SELECT set_config('backfleet.blocks', 'on', true) = 'on' $$;

-- A worker of the version before claims no range of row addresses, whoever has it published as one of keys. Only a proof by block of a key of
-- one column it may: what it passes there counts for nothing (blocks_left), and so the proof soon goes on by keys. Of several columns it would die.
CREATE FUNCTION backfleet.claim_blocks() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT walk = 'block' OR jsonb_array_length(key_columns) > 1 FROM backfleet.jobs WHERE id = NEW.job_id) THEN
        RAISE EXCEPTION 'range % of job % spans row addresses, of which this worker knows nothing', NEW.index, NEW.job_id
            USING ERRCODE = 'BF003', HINT = 'Upgrade the worker.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_blocks BEFORE UPDATE OF claim_token ON backfleet.ranges FOR EACH ROW
    WHEN (NEW.file IS NOT NULL AND current_setting('backfleet.blocks', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION backfleet.claim_blocks();

-- A coordinator of the version before does not come to lead while a job in block order is open: it would plan, release and prove it by keys.
CREATE FUNCTION backfleet.lead_blocks() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    open_job text := (SELECT name FROM backfleet.jobs WHERE walk = 'block'
                         AND state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled') LIMIT 1);
BEGIN
    IF open_job IS NOT NULL THEN
        RAISE EXCEPTION 'job % is in block order, of which this coordinator knows nothing', open_job
            USING ERRCODE = 'BF003', HINT = 'Start a coordinator of the newer version, or cancel the job.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lead_blocks BEFORE UPDATE OF epoch ON backfleet.leadership FOR EACH ROW
    WHEN (NEW.epoch <> OLD.epoch AND current_setting('backfleet.blocks', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION backfleet.lead_blocks();
