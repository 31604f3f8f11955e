-- How many tokens a key may use in a minute. Null: as many as it likes.

ALTER TABLE np_claw_api_keys ADD COLUMN tokens_per_minute integer CHECK (tokens_per_minute BETWEEN 1 AND 60000000);
