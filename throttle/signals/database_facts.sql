-- What the database reader must know about the server and its own role. A setting that the role may not see is NULL.
SELECT current_setting('server_version_num')::int4 AS version,
       quote_ident(current_user) AS role,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_others,
       pg_backend_pid() AS pid,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
