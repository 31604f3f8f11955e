-- System prompts of the operator's own, and those of keys.

-- What the operator lets models be told before a client's own messages. One at the most is the default.
CREATE TABLE np_claw_system_prompts (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    content     text NOT NULL CHECK (length(content) BETWEEN 1 AND 32768),
    is_default  boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE np_claw_api_keys ADD COLUMN system_prompt_id uuid REFERENCES np_claw_system_prompts ON DELETE SET NULL;
