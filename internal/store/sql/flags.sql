-- name: flag
SELECT name, percent, since, by, revision FROM backfleet.flags WHERE name = $1

-- name: flag_list
SELECT name, percent, since, by, revision FROM backfleet.flags ORDER BY name

-- name: flag_lock
SELECT name, percent, since, by, revision FROM backfleet.flags WHERE name = $1 FOR NO KEY UPDATE

-- name: flag_set
INSERT INTO backfleet.flags AS f (name, percent, by) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET percent = EXCLUDED.percent, by = EXCLUDED.by, since = clock_timestamp(), revision = f.revision + 1
RETURNING name, percent, since, by, revision

-- name: rehearsal_begin
INSERT INTO backfleet.rehearsals (migration, mode, relation, target, undo, until, by) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id, began

-- name: rehearsal_open
SELECT id, migration, mode, relation, target, undo, began, until, by, ended, coalesce(ended_by, '') FROM backfleet.rehearsals
 WHERE ended IS NULL AND (migration = $1 OR relation = $2) ORDER BY id LIMIT 1 FOR UPDATE

-- name: rehearsal_end
UPDATE backfleet.rehearsals SET ended = clock_timestamp(), ended_by = $2 WHERE id = $1 RETURNING ended

-- name: rehearsal_list
SELECT id, migration, mode, relation, target, undo, began, until, by, ended, coalesce(ended_by, '') FROM backfleet.rehearsals WHERE migration = $1 ORDER BY id

-- name: rehearsal_overdue
SELECT id, migration, mode, relation, target, undo, began, until, by, ended, coalesce(ended_by, '') FROM backfleet.rehearsals
 WHERE ended IS NULL AND until <= clock_timestamp() ORDER BY until
