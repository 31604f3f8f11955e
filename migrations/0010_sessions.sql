-- Sessions and their messages.

-- Chats that a client continues by `x-nself-session-id`. A null key_id is the internal token's. A session is made with its
-- first turn; its id is the client's.
CREATE TABLE np_claw_sessions (
    id                 uuid PRIMARY KEY,
    key_id             uuid REFERENCES np_claw_api_keys ON DELETE CASCADE,
    title              text CHECK (length(title) BETWEEN 1 AND 200),
    auto_title         text CHECK (length(auto_title) BETWEEN 1 AND 200),
    is_admin_mode      boolean NOT NULL DEFAULT false,
    parent_session_id  uuid REFERENCES np_claw_sessions ON DELETE SET NULL,
    message_count      integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    last_message_at    timestamptz NOT NULL DEFAULT now(),
    archived_at        timestamptz
);

CREATE INDEX np_claw_sessions_last ON np_claw_sessions (key_id, last_message_at DESC, id);
CREATE INDEX np_claw_sessions_parent ON np_claw_sessions (parent_session_id);

-- `message` is its JSON, byte for byte, but for media that were too large to be kept; `content` its text alone, `digest` what
-- a client's own copy is known again by. What a client edited or asked anew is not deleted: `superseded_by` names the
-- request that took its place, and it is history no more. The first 65,536 characters can be found: a tsvector holds a
-- megabyte at the most.
CREATE TABLE np_claw_messages (
    id             uuid PRIMARY KEY,
    session_id     uuid NOT NULL REFERENCES np_claw_sessions ON DELETE CASCADE,
    position       integer NOT NULL CHECK (position >= 0),
    request_id     uuid NOT NULL,
    role           text NOT NULL,
    message        text NOT NULL,
    content        text NOT NULL,
    digest         bytea NOT NULL,
    state          text NOT NULL DEFAULT 'complete' CHECK (state IN ('complete', 'cut', 'broken', 'cancelled')),
    superseded_by  uuid,
    tier_source    text,
    model_used     text,
    latency_ms     bigint,
    input_tokens   bigint,
    output_tokens  bigint,
    created_at     timestamptz NOT NULL DEFAULT now(),
    search         tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', left(content, 65536))) STORED,
    UNIQUE (session_id, position)
);

CREATE INDEX np_claw_messages_search ON np_claw_messages USING gin (search);
