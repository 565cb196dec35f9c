-- What the last two phases of a migration need: the flag by which applications ask which schema to read, and rehearsals of the drop.
-- Programs of the version before know nothing of it and go on.

-- Which part of the keys reads the new schema. The name is the migration's.
CREATE TABLE backfleet.flags (
    name     text PRIMARY KEY,
    percent  smallint NOT NULL CHECK (percent IN (0, 1, 10, 100)),
    since    timestamptz NOT NULL DEFAULT clock_timestamp(),
    by       text NOT NULL,
    revision bigint NOT NULL DEFAULT 1
);
-- An application needs USAGE on the schema and nothing else. Who set a flag is not its concern.
GRANT SELECT (name, percent, since, revision) ON backfleet.flags TO PUBLIC;

-- Where a key stands among the 10,000 buckets of a flag: the first four bytes of SHA-256 of "name:key" in UTF-8, unsigned and big-endian,
-- modulo 10,000. Applications compute the same; it must never change. Its body is bound when it is made, whatever the caller's search_path.
CREATE FUNCTION backfleet.flag_bucket(name text, key text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (('x' || encode(substr(sha256(convert_to(name || ':' || key, 'UTF8')), 1, 4), 'hex'))::bit(32)::bigint % 10000)::integer;

-- Whether a key reads the new schema. A flag that is not there says no: the old schema is the one that is complete for sure. A NULL key
-- goes over with the last.
CREATE FUNCTION backfleet.flag(name text, key text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT coalesce(backfleet.flag_bucket($1, $2), 9999) < f.percent * 100 FROM backfleet.flags f WHERE f.name = $1), false)
$$;

-- Rehearsals of a drop: what was taken away for a time, and how it comes back. Written in the transaction that takes it.
CREATE TABLE backfleet.rehearsals (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration text NOT NULL,
    mode      text NOT NULL CHECK (mode IN ('revoke', 'rename')),
    relation  oid NOT NULL,
    target    jsonb NOT NULL,                             -- schema, table and columns, as they were named
    undo      jsonb NOT NULL,                             -- all that an undo needs, by whatever process
    began     timestamptz NOT NULL DEFAULT clock_timestamp(),
    until     timestamptz NOT NULL,
    by        text NOT NULL,
    ended     timestamptz,
    ended_by  text
);
-- One at a time of a migration and of a table: each undo brings back what its own beginning found.
CREATE UNIQUE INDEX rehearsals_open ON backfleet.rehearsals (migration) WHERE ended IS NULL;
CREATE UNIQUE INDEX rehearsals_relation ON backfleet.rehearsals (relation) WHERE ended IS NULL;

-- Roles that may submit may do so still.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = 'backfleet.jobs'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON backfleet.flags, backfleet.rehearsals TO %s', v_role);
    END LOOP;
END $$;
