-- What a key may use, and until when. Empty: all models, all tiers.

ALTER TABLE np_claw_api_keys
    ADD COLUMN allowed_models text[] NOT NULL DEFAULT '{}',
    ADD COLUMN allowed_tiers text[] NOT NULL DEFAULT '{}',
    ADD COLUMN expires_at timestamptz;
