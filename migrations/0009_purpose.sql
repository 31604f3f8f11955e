-- Requests of the gateway's own say what they were for.

ALTER TABLE np_claw_api_usage ADD COLUMN purpose text NOT NULL DEFAULT '';
