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
