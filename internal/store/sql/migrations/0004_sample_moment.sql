-- What the leader knew of the job beside the figures of a sample: lag by replica, budget, batches, stream, growth.
ALTER TABLE backfleet.samples ADD COLUMN moment jsonb;
