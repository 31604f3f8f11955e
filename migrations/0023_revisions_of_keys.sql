-- How often a key was changed: a process that has it in its cache sees in Redis whether that is as it is now.
ALTER TABLE np_claw_api_keys ADD COLUMN revision integer NOT NULL DEFAULT 0;
