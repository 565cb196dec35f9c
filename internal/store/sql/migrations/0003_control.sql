-- What the surfaces need of the ledger: requests that were answered, a second person's approval, and what was told to people.
-- Programs of the version before go on beside it: they name the columns that they read, and nothing that they know changes.

-- Requests that came with an Idempotency-Key, so that one that is sent again finds its answer.
CREATE TABLE backfleet.requests (
    by          text NOT NULL,                            -- the token's name
    key         text NOT NULL,
    fingerprint text NOT NULL,                            -- SHA-256 of what was asked
    job_id      text NOT NULL REFERENCES backfleet.jobs ON DELETE CASCADE,
    created     boolean NOT NULL,                         -- what was answered: the job was new
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (by, key)
);
CREATE INDEX requests_at ON backfleet.requests (at);

-- What the ledger's owner asks of all who submit. The fleet's role may read it only, so no token of the API can change it.
CREATE TABLE backfleet.policy (
    id       boolean PRIMARY KEY DEFAULT true CHECK (id),
    approval boolean NOT NULL DEFAULT false               -- a job begins only after another person's approval
);
INSERT INTO backfleet.policy DEFAULT VALUES;
GRANT SELECT ON backfleet.policy TO PUBLIC;               -- of those who may use the schema

ALTER TABLE backfleet.jobs
    ADD COLUMN submitted_as text,                         -- the token that submitted it; NULL: not through the API's tokens
    ADD COLUMN plan         jsonb,                        -- as it was checked at the submit
    ADD COLUMN plan_hash    text,                         -- what an approval is bound to
    ADD COLUMN approved_as  text,                         -- the token that approved it
    ADD COLUMN approved_at  timestamptz;

-- Whatever program stores a job, one that knows nothing of approvals too.
CREATE FUNCTION backfleet.await_approval() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.state <> 'awaiting_approval' AND (SELECT approval FROM backfleet.policy) THEN
        RAISE EXCEPTION 'job % needs an approval', NEW.name
            USING ERRCODE = 'check_violation', HINT = 'This database asks for the approval of another person: submit it with a newer backfleet.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER await_approval BEFORE INSERT ON backfleet.jobs FOR EACH ROW EXECUTE FUNCTION backfleet.await_approval();

-- Refusals are counted by the hour, so that a flood of them cannot fill the audit log.
CREATE INDEX events_refused ON backfleet.events (at) WHERE action = 'refused';

-- What is, or was, to be told to people: a line for each message and receiver, so that a new leader tells nothing twice.
CREATE TABLE backfleet.notices (
    target   text NOT NULL,                               -- webhook or slack
    subject  text NOT NULL,                               -- what it is about, such as event/17
    id       text NOT NULL,                               -- the receiver's way to know a message that comes twice
    message  jsonb NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts int NOT NULL DEFAULT 0,
    sent_at  timestamptz,
    gave_up  boolean NOT NULL DEFAULT false,
    error    text,
    PRIMARY KEY (target, subject)
);
CREATE INDEX notices_due ON backfleet.notices (target, due_at) WHERE sent_at IS NULL AND NOT gave_up;
CREATE INDEX notices_at ON backfleet.notices (at);

-- Roles that may submit may do so still.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = 'backfleet.jobs'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON backfleet.requests, backfleet.notices TO %s', v_role);
    END LOOP;
END $$;
