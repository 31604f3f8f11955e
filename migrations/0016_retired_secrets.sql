-- Secrets that were taken from a key by a rotation. Each opens it until `valid_until`, and is refused by name after that.
CREATE TABLE np_claw_retired_secrets (
    key_hash     bytea PRIMARY KEY CHECK (length(key_hash) = 32),
    key_id       uuid NOT NULL REFERENCES np_claw_api_keys ON DELETE CASCADE,
    valid_until  timestamptz NOT NULL
);

CREATE INDEX np_claw_retired_secrets_key ON np_claw_retired_secrets (key_id);
