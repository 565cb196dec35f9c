-- What the primary holds before anybody can connect: the application's database, the fleet's role, and the standby's.
\set fleet `cat /run/backfleet/fleet.password`
\set replication `cat /run/backfleet/replication.password`
CREATE ROLE backfleet LOGIN PASSWORD :'fleet';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication';
CREATE DATABASE app;
-- The fleet creates its own ledger, schema backfleet, and reads what the replicas do. `backfleet db grants` prints what it needs for a table.
GRANT CREATE ON DATABASE app TO backfleet;
GRANT pg_monitor TO backfleet;
SELECT pg_create_physical_replication_slot('standby');
