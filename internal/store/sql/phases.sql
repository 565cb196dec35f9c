-- name: migration_start
INSERT INTO backfleet.migrations (name, spec, facts, started_by, started_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING RETURNING revision

-- name: migration
SELECT name, spec, facts, revision, started_by, started_at FROM backfleet.migrations WHERE name = $1

-- name: migration_lock
SELECT name, spec, facts, revision, started_by, started_at FROM backfleet.migrations WHERE name = $1 FOR NO KEY UPDATE

-- name: migration_list
SELECT name, spec, facts, revision, started_by, started_at FROM backfleet.migrations ORDER BY started_at, name

-- name: migration_set
UPDATE backfleet.migrations SET facts = $2, revision = revision + 1 WHERE name = $1 RETURNING revision

-- name: migration_say
INSERT INTO backfleet.migration_log (migration, at, by, action, detail) VALUES ($1, $2, $3, $4, $5)

-- name: migration_log
SELECT id, at, by, action, detail FROM backfleet.migration_log WHERE migration = $1 ORDER BY id
