-- Which ranges are out, in the stream or with a worker, is asked ten times a second, and there are 100,000 of them at the most. An index of
-- them with all that wait made that question as long as the plan: a verification has every range waiting from its beginning.
-- Programs of the version before ask as they did, and find what they look for by the primary key.
CREATE INDEX ranges_out ON backfleet.ranges (job_id, index) WHERE state IN ('released', 'running');
DROP INDEX backfleet.ranges_open;
-- Whether a range was given up is asked before each verification, and the answer is nearly always no.
CREATE INDEX ranges_failed ON backfleet.ranges (job_id, index) WHERE state = 'failed';
