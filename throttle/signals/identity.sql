-- Which cluster and database this is, to tell a standby of a primary from any other server.
SELECT pg_is_in_recovery(), current_database()::text, to_regprocedure('aurora_replica_status()') IS NOT NULL
