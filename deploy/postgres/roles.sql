-- The two roles of Backfleet in one database. Run it once for each, as a superuser (or the provider's administrator role):
--
--   psql -d app -f roles.sql
--
-- Running it again changes nothing. Passwords or certificates are yours to give: \password backfleet
\set ON_ERROR_STOP on

-- The fleet: coordinators and workers connect as it. It owns nothing.
SELECT 'CREATE ROLE backfleet LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backfleet') \gexec

-- Owns the ledger, so that the fleet cannot drop or alter it. Only `backfleet db init` connects as it, at a first start and at upgrades.
SELECT 'CREATE ROLE backfleet_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backfleet_owner') \gexec

-- May stop every batch and free it again (backfleet.hold, backfleet.release), and no more: for whoever is on call.
SELECT 'CREATE ROLE backfleet_oncall NOLOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backfleet_oncall') \gexec

GRANT CONNECT ON DATABASE :"DBNAME" TO backfleet, backfleet_owner;
GRANT CREATE ON DATABASE :"DBNAME" TO backfleet_owner;  -- for the schema backfleet

-- Replicas, slots, and the other sessions: without it the fleet does not start.
GRANT pg_monitor TO backfleet;
