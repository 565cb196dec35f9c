-- Lets the role backfleet_oncall pull the brake, and nothing else. Run it as backfleet_owner, after `backfleet db init`.
\set ON_ERROR_STOP on
GRANT USAGE ON SCHEMA backfleet TO backfleet_oncall;
GRANT EXECUTE ON FUNCTION backfleet.hold(interval, text), backfleet.release() TO backfleet_oncall;
