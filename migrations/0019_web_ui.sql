-- The web UI's password as an argon2 hash, and the generation of its sessions: a new one ends them all. One row.
CREATE TABLE np_claw_web_ui (
    id             boolean PRIMARY KEY DEFAULT true CHECK (id),
    password_hash  text,
    generation     uuid NOT NULL DEFAULT gen_random_uuid(),
    changed_at     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO np_claw_web_ui DEFAULT VALUES;
