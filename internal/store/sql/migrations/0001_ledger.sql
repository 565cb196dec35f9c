-- The ledger: the source of truth of every backfill of this database.
-- Keys are text arrays in Postgres' own text form under pinned settings (DateStyle ISO, TimeZone UTC); NULL is unbounded.

CREATE TABLE backfleet.jobs (
    id            text PRIMARY KEY,                       -- ULID
    name          text NOT NULL CHECK (name ~ '^[a-z0-9-]{1,40}$'),
    database      text NOT NULL,
    spec          jsonb NOT NULL,
    spec_hash     text NOT NULL,
    limits        jsonb NOT NULL,                         -- the spec's limits with every `set` applied
    state         text NOT NULL CHECK (state IN ('awaiting_approval', 'planning', 'running', 'paused', 'verifying',
                                                 'complete', 'complete_with_errors', 'failed', 'cancelled')),
    resume_state  text,                                   -- where `resume` returns to
    reason        text NOT NULL DEFAULT '',
    revision      bigint NOT NULL DEFAULT 1,
    key_columns   jsonb NOT NULL,                         -- [{name, type, collation}]
    idempotent    boolean NOT NULL,                       -- no `set` expression reads what it sets: a repair may redo a row
    auto_passes   smallint NOT NULL DEFAULT 1,            -- what batch.passes auto means for this table
    search_path   text NOT NULL,                          -- pinned at submit: it decides what an expression's names mean
    estimate      bigint NOT NULL,
    estimate_by   text NOT NULL,
    freeze_wait   text[],                                 -- write transactions open at the freeze; NULL: not frozen yet
    planned_at    timestamptz,                            -- every range is in the ledger
    verify_round  smallint NOT NULL DEFAULT 0,
    submitted_by  text NOT NULL,
    submitted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at    timestamptz,
    ended_at      timestamptz,
    forecast      jsonb,                                  -- what sample batches predicted at the submit
    start_lsn     text,                                   -- the WAL position at the first batch
    end_lsn       text,                                   -- `complete` waits until every replica has flushed it
    stream_clear  boolean NOT NULL DEFAULT false,         -- it ended and left nothing in the stream
    report        jsonb
);
-- One unfinished job a name: the name is a subject and a consumer.
CREATE UNIQUE INDEX jobs_live_name ON backfleet.jobs (name)
    WHERE state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled');

-- A job's table, or each of its leaf partitions, with the bound frozen for it.
CREATE TABLE backfleet.relations (
    job_id     text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    ordinal    int NOT NULL,                              -- the order of planning
    relation   oid NOT NULL,
    name       text NOT NULL,                             -- schema-qualified and quoted, as at the freeze
    leaf       boolean NOT NULL,                          -- a leaf partition: it may go, and its ranges with it
    bound      text[],                                    -- the frozen upper bound; NULL: empty at the freeze
    planned_to text[],                                    -- where the next boundary search begins; NULL: at the start
    planned    boolean NOT NULL DEFAULT false,
    dropped    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job_id, relation)
);

-- No CHECK constraints: PostgreSQL prepares them anew for each statement, which is for each batch.
CREATE TABLE backfleet.ranges (
    job_id        text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    index         int NOT NULL,
    kind          text NOT NULL DEFAULT 'fill',           -- or verify
    round         smallint NOT NULL DEFAULT 0,            -- the verification pass
    relation      oid NOT NULL,
    lo            text[],
    hi            text[],
    hi_inclusive  boolean NOT NULL DEFAULT false,
    chunk_lo      text[],                                 -- the checkpoint: (chunk_lo, chunk_hi, k, pass, key),
    chunk_hi      text[],                                 -- compared whole
    k             smallint NOT NULL DEFAULT 1,
    pass          smallint NOT NULL DEFAULT 0,
    key           text[],
    state         text NOT NULL DEFAULT 'queued',         -- or released, running, done, failed, dropped, skipped
    generation    int NOT NULL DEFAULT 0,
    released_at   timestamptz,
    fence         bigint NOT NULL DEFAULT 0,
    claim_token   uuid,
    owner         text,
    lease_until   timestamptz,
    reply_subject text,
    attempts      int NOT NULL DEFAULT 0,
    claims        int NOT NULL DEFAULT 0,
    rows          bigint NOT NULL DEFAULT 0,              -- rows written, exact
    walked        bigint NOT NULL DEFAULT 0,              -- keys passed, for progress only
    batches       bigint NOT NULL DEFAULT 0,
    retries       bigint NOT NULL DEFAULT 0,
    residual      bigint NOT NULL DEFAULT 0,              -- verify: rows found that still matched `where`
    check_fails   bigint NOT NULL DEFAULT 0,              -- verify: rows whose `check` is not true
    failing_key   text[],                                 -- verify: one of those rows
    last_error    text,
    started_at    timestamptz,
    ended_at      timestamptz,
    PRIMARY KEY (job_id, index)
) WITH (fillfactor = 50);                                 -- every batch updates one row: keep it HOT
-- None of these name a column that a batch writes, so a batch's update of its row stays HOT.
CREATE INDEX ranges_open ON backfleet.ranges (job_id, index) WHERE state IN ('queued', 'released', 'running');
CREATE INDEX ranges_queued ON backfleet.ranges (job_id, index) WHERE state = 'queued';
CREATE INDEX ranges_running ON backfleet.ranges (job_id, index) WHERE state = 'running';

CREATE TABLE backfleet.quarantine (
    job_id      text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    relation    oid NOT NULL,
    key         text[] NOT NULL,
    range_index int,
    sqlstate    text NOT NULL,
    error       text NOT NULL,
    attempts    int NOT NULL DEFAULT 1,
    by          text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, relation, key)
);

-- The audit log.
CREATE TABLE backfleet.events (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id text REFERENCES backfleet.jobs ON DELETE CASCADE,
    by     text NOT NULL,
    action text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_job ON backfleet.events (job_id, id);

-- A point of a job's history every few seconds.
CREATE TABLE backfleet.samples (
    job_id   text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    rows     bigint NOT NULL,
    rate     double precision NOT NULL,
    lag      double precision NOT NULL,
    limiting text NOT NULL DEFAULT '',                    -- what limited it most since the sample before
    lost     double precision NOT NULL DEFAULT 0,         -- part of what the fleet could have done meanwhile, 0..1
    PRIMARY KEY (job_id, at)
);

-- The sum of what the samples lost, by reason, in seconds of full speed. The empty signal holds the seconds that were watched.
CREATE TABLE backfleet.losses (
    job_id  text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    signal  text NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (job_id, signal)
) WITH (fillfactor = 50);

CREATE TABLE backfleet.heartbeat (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    ts timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO backfleet.heartbeat (ts) VALUES (clock_timestamp());

-- Replicas seen on a WAL timeline: a new leader waits for those that are away now. A failover forgets them, for one of them is the
-- primary now.
CREATE TABLE backfleet.replicas (
    name     text PRIMARY KEY,
    timeline text NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Who governs this database. The epoch begins with the WAL timeline, so a failover never reuses one.
CREATE TABLE backfleet.leadership (
    id    boolean PRIMARY KEY DEFAULT true CHECK (id),
    owner text NOT NULL,
    epoch bigint NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 10);

-- What a person set for all jobs of this database together: caps, and the override of their windows.
CREATE TABLE backfleet.throttle (
    id       boolean PRIMARY KEY DEFAULT true CHECK (id),
    rules    jsonb NOT NULL,
    revision bigint NOT NULL DEFAULT 1
);
INSERT INTO backfleet.throttle (rules) VALUES ('{}');

-- The brake that needs none of the fleet's processes: every batch's own statement reads it.
CREATE TABLE backfleet.brake (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    until  timestamptz NOT NULL,
    by     text NOT NULL,
    reason text NOT NULL DEFAULT ''
);

CREATE FUNCTION backfleet.hold(how_long interval, why text DEFAULT '') RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + how_long;
    v_old   timestamptz := (SELECT until FROM backfleet.brake);
BEGIN
    IF how_long IS NULL OR how_long <= interval '0' THEN
        RAISE EXCEPTION 'backfleet.hold: % is not a positive interval', how_long
            USING HINT = 'Call SELECT backfleet.hold(''10 minutes'').';
    END IF;
    IF how_long > interval '7 days' THEN
        RAISE EXCEPTION 'backfleet.hold: % is longer than a week, and such a hold is forgotten', how_long
            USING HINT = 'Call SELECT backfleet.hold(''7 days'') at most.';
    END IF;
    INSERT INTO backfleet.brake AS b (until, by, reason) VALUES (v_until, session_user, coalesce(why, ''))
        ON CONFLICT (id) DO UPDATE SET until = EXCLUDED.until, by = EXCLUDED.by, reason = EXCLUDED.reason;
    INSERT INTO backfleet.events (by, action, detail)
        VALUES (session_user, 'hold', jsonb_build_object('old', v_old, 'new', v_until)
                || CASE WHEN why <> '' THEN jsonb_build_object('reason', why) ELSE '{}' END);
    RETURN v_until;
END $$;

CREATE FUNCTION backfleet.release() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_old timestamptz;
BEGIN
    DELETE FROM backfleet.brake RETURNING until INTO v_old;
    INSERT INTO backfleet.events (by, action, detail)
        VALUES (session_user, 'release', jsonb_build_object('old', v_old, 'new', NULL));
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION backfleet.hold(interval, text), backfleet.release() FROM PUBLIC;
