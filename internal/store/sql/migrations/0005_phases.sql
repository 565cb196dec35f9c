-- Migrations in five phases: what each is, what was done of it, and by whom. Programs of the version before know nothing of it and go on.

CREATE TABLE backfleet.migrations (
    name       text PRIMARY KEY,
    spec       jsonb NOT NULL,
    facts      jsonb NOT NULL DEFAULT '{}',               -- all that was done, with its times: the phase follows from it
    revision   bigint NOT NULL DEFAULT 1,
    started_by text NOT NULL,
    started_at timestamptz NOT NULL
);

-- Who did what, with the old and the new. It only grows, and outlives nothing: a migration is never deleted.
CREATE TABLE backfleet.migration_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration text NOT NULL REFERENCES backfleet.migrations,
    at        timestamptz NOT NULL,
    by        text NOT NULL,
    action    text NOT NULL,
    detail    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX migration_log_migration ON backfleet.migration_log (migration, id);

-- Roles that may submit may read how migrations stand; what is done of them is done by the table's owner.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = 'backfleet.jobs'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON backfleet.migrations TO %s', v_role);
        EXECUTE format('GRANT SELECT, INSERT ON backfleet.migration_log TO %s', v_role);
    END LOOP;
END $$;
