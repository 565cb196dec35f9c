-- The watch over both schemas of a migration: what it found, when, and who was at work then. Programs of the version before know nothing
-- of it and go on.

-- Where the watch of a migration stands. Whoever walks moves it on from where it was, so two who walk share the way.
CREATE TABLE backfleet.divergence (
    migration text PRIMARY KEY REFERENCES backfleet.migrations,
    since_xid bigint,                                     -- the transaction from which on each row version is written under the trigger
    since_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    round     int NOT NULL DEFAULT 0,                     -- the one under way, or the last
    walking   boolean NOT NULL DEFAULT false,             -- it is under way
    side      smallint NOT NULL DEFAULT 0,                -- 0: the old table, 1: the new one
    leaf      text NOT NULL DEFAULT '',
    key       text[]
) WITH (fillfactor = 50);

-- The series: one line a round. One that did not end was abandoned, or is under way.
CREATE TABLE backfleet.divergence_rounds (
    migration  text NOT NULL REFERENCES backfleet.migrations,
    round      int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    walked     bigint NOT NULL DEFAULT 0,
    waiting    bigint NOT NULL DEFAULT 0,                 -- missing, but of before the trigger: the backfill's
    missing    bigint NOT NULL DEFAULT 0,
    differing  bigint NOT NULL DEFAULT 0,
    orphans    bigint NOT NULL DEFAULT 0,
    failing    bigint NOT NULL DEFAULT 0,                 -- their expression fails, so nobody can compare them
    more       boolean NOT NULL DEFAULT false,            -- more diverging rows than are kept by key
    seconds    double precision NOT NULL DEFAULT 0,       -- of the database's time that the round took
    PRIMARY KEY (migration, round)
) WITH (fillfactor = 50);

-- Rows found diverging, by key, up to a bound.
CREATE TABLE backfleet.divergence_rows (
    migration    text NOT NULL REFERENCES backfleet.migrations,
    relation     text NOT NULL,
    key          text[] NOT NULL,
    kind         text NOT NULL,                           -- missing, differing, orphan or failing
    first_seen   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    gone_at      timestamptz,
    bucket_since timestamptz NOT NULL,                    -- between these two it came to diverge
    bucket_until timestamptz NOT NULL,
    PRIMARY KEY (migration, relation, key)
);
CREATE INDEX divergence_rows_open ON backfleet.divergence_rows (migration) WHERE gone_at IS NULL;

-- How many rows came to diverge in which time, and who was at work then.
CREATE TABLE backfleet.divergence_buckets (
    migration text NOT NULL REFERENCES backfleet.migrations,
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    how       text NOT NULL,                              -- commit: by commit timestamps; transaction: by ids; round: between two rounds
    missing   bigint NOT NULL DEFAULT 0,
    differing bigint NOT NULL DEFAULT 0,
    orphans   bigint NOT NULL DEFAULT 0,
    failing   bigint NOT NULL DEFAULT 0,
    suspects  jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (migration, since, until)
);

-- What was going on in the database, a line a minute for two days, while anything is watched. Statements without their literals.
CREATE TABLE backfleet.activity (
    at       timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    next_xid bigint NOT NULL,                             -- each transaction that began to write before has a lower one
    seen     jsonb NOT NULL
);

-- Roles that may submit run the watch.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = 'backfleet.jobs'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON backfleet.divergence, backfleet.divergence_rounds, backfleet.divergence_rows,'
                       ' backfleet.divergence_buckets, backfleet.activity TO %s', v_role);
    END LOOP;
END $$;
