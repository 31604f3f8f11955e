-- About how many of a prompt's tokens the gateway put before the client's messages.

ALTER TABLE np_claw_api_usage ADD COLUMN added_tokens integer NOT NULL DEFAULT 0;
