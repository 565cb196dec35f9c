-- A verification may read a relation block by block, in one snapshot that the leader holds for all of the fleet. Programs of the version before
-- know nothing of it: blocks_left shows whether such a one has touched a range, and then the round counts for nothing.
ALTER TABLE backfleet.ranges ADD COLUMN IF NOT EXISTS file oid;   -- the relation's file whose row addresses the span holds; NULL: it holds keys
ALTER TABLE backfleet.ranges ADD COLUMN blocks_left bigint NOT NULL DEFAULT 0; -- that a proof has still to read
ALTER TABLE backfleet.jobs ADD COLUMN snapshot text;              -- of the present round of verification; NULL: it walks keys, or there is none
ALTER TABLE backfleet.jobs ADD COLUMN block_rounds smallint NOT NULL DEFAULT 0; -- that were begun; the rounds that walk keys follow them
-- How large a relation was at the freeze, in bytes of its heap: max_growth is measured by it. NULL: a program of before froze it.
ALTER TABLE backfleet.relations ADD COLUMN size bigint;
