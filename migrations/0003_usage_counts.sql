-- Of a key that is refused very often, one row stands for `count` requests.

ALTER TABLE np_claw_api_usage ADD COLUMN count integer NOT NULL DEFAULT 1 CHECK (count > 0);
