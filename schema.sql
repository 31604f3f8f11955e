-- The whole schema, for an empty database. Safe to apply again.
-- A change goes here and into migrations/ (see migrations/README.md); both name the same version.

CREATE TABLE IF NOT EXISTS np_claw_schema_version (
    version     integer PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

-- What the operator lets models be told before a client's own messages. One at the most is the default.
CREATE TABLE IF NOT EXISTS np_claw_system_prompts (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    content     text NOT NULL CHECK (length(content) BETWEEN 1 AND 32768),
    is_default  boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS np_claw_api_keys (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    key_hash       bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    key_prefix     text NOT NULL,
    rpm_limit      integer NOT NULL DEFAULT 60 CHECK (rpm_limit BETWEEN 1 AND 1000000),
    admin_allowed  boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_used_at   timestamptz,
    revoked_at     timestamptz,
    monthly_budget_usd  numeric(14, 6) CHECK (monthly_budget_usd >= 0),
    system_prompt_id  uuid REFERENCES np_claw_system_prompts ON DELETE SET NULL,
    allowed_models  text[] NOT NULL DEFAULT '{}',
    allowed_tiers   text[] NOT NULL DEFAULT '{}',
    expires_at      timestamptz,
    tokens_per_minute  integer CHECK (tokens_per_minute BETWEEN 1 AND 60000000)
);

-- `sealed_key` can be opened by the workers of the Gemini tier only (X25519 sealed box). Keys of one Google Cloud project
-- share its quota. A quota that is null is the catalogue's.
CREATE TABLE IF NOT EXISTS np_claw_gemini_accounts (
    id                        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_email             text NOT NULL UNIQUE CHECK (length(account_email) BETWEEN 1 AND 200),
    project                   text CHECK (length(project) BETWEEN 1 AND 200),
    sealed_key                bytea NOT NULL,
    requests_per_minute       integer CHECK (requests_per_minute > 0),
    prompt_tokens_per_minute  integer CHECK (prompt_tokens_per_minute > 0),
    requests_per_day          integer CHECK (requests_per_day > 0),
    enabled                   boolean NOT NULL DEFAULT true,
    created_at                timestamptz NOT NULL DEFAULT now()
);

-- The tiers that `auto` may use for a class of tasks, in the order of `priority`. Without rows: all, free before paid.
CREATE TABLE IF NOT EXISTS np_claw_routing (
    task_class   text NOT NULL,
    source_tier  text NOT NULL,
    priority     integer NOT NULL,
    enabled      boolean NOT NULL,
    PRIMARY KEY (task_class, source_tier)
);

-- One row a request; `day` is the UTC day of `admitted_at`. A null key_id is the internal token. Of a key that is refused
-- very often, one row of a minute, status and error code stands for `count` requests. Of the prompt's tokens the gateway
-- put about `added_tokens` before the client's messages. `error_reason` is what the upstream itself said of a failure, bounded
-- and with secrets masked. `purpose` is what a request of the gateway's own was for, empty for a client's.
CREATE TABLE IF NOT EXISTS np_claw_api_usage (
    day                date NOT NULL,
    request_id         uuid NOT NULL,
    key_id             uuid,
    endpoint           text NOT NULL,
    asked_model        text NOT NULL,
    model              text NOT NULL,
    tier               text NOT NULL,
    tier_source        text NOT NULL GENERATED ALWAYS AS (
        CASE tier WHEN 'local' THEN 'local' WHEN 'gemini' THEN 'free_gemini' WHEN 'paid' THEN 'api_key' ELSE '' END
    ) STORED,
    stream             boolean NOT NULL,
    status             integer NOT NULL,
    error_code         text,
    prompt_tokens      bigint NOT NULL,
    completion_tokens  bigint NOT NULL,
    cached_tokens      bigint NOT NULL,
    reasoning_tokens   bigint NOT NULL,
    usage_source       text NOT NULL,
    cost_usd           numeric(20, 10) NOT NULL,
    attempts           integer NOT NULL,
    wait_ms            bigint,
    first_token_ms     bigint,
    duration_ms        bigint NOT NULL,
    admitted_at        timestamptz NOT NULL,
    count              integer NOT NULL DEFAULT 1 CHECK (count > 0),
    added_tokens       integer NOT NULL DEFAULT 0,
    error_reason       text,
    purpose            text NOT NULL DEFAULT '',
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, request_id)
) PARTITION BY RANGE (day);

CREATE INDEX IF NOT EXISTS np_claw_api_usage_admitted ON np_claw_api_usage (admitted_at, request_id);
CREATE INDEX IF NOT EXISTS np_claw_api_usage_key ON np_claw_api_usage (key_id, admitted_at);

-- Takes the days that have no partition of their own, so that no row is ever refused.
CREATE TABLE IF NOT EXISTS np_claw_api_usage_default PARTITION OF np_claw_api_usage DEFAULT;

-- Makes the partition of a day and says whether it is there. Where it cannot be made now (rows of that day are in the
-- default partition already, or a long query holds the table) the day's rows go to the default partition.
CREATE OR REPLACE FUNCTION np_claw_ensure_usage_day(wanted date) RETURNS boolean
LANGUAGE plpgsql AS $body$
DECLARE
    partition_name text := 'np_claw_api_usage_' || to_char(wanted, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition_name) IS NOT NULL THEN
        RETURN true;
    END IF;
    PERFORM set_config('lock_timeout', '2s', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('np_claw_ensure_usage_day', 0));
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF np_claw_api_usage FOR VALUES FROM (%L) TO (%L)',
        partition_name, wanted, wanted + 1
    );
    RETURN true;
EXCEPTION WHEN check_violation OR lock_not_available THEN
    RETURN false;
END
$body$;

-- Chats that a client continues by `x-nself-session-id`. A null key_id is the internal token's. A session is made with its
-- first turn; its id is the client's.
CREATE TABLE IF NOT EXISTS np_claw_sessions (
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

CREATE INDEX IF NOT EXISTS np_claw_sessions_last ON np_claw_sessions (key_id, last_message_at DESC, id);
CREATE INDEX IF NOT EXISTS np_claw_sessions_parent ON np_claw_sessions (parent_session_id);

-- `message` is its JSON, byte for byte, but for media that were too large to be kept; `content` its text alone, `digest` what
-- a client's own copy is known again by. What a client edited or asked anew is not deleted: `superseded_by` names the
-- request that took its place, and it is history no more. The first 65,536 characters can be found: a tsvector holds a
-- megabyte at the most.
CREATE TABLE IF NOT EXISTS np_claw_messages (
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

CREATE INDEX IF NOT EXISTS np_claw_messages_search ON np_claw_messages USING gin (search);

-- What was changed by the management API, and each request in admin mode. Rows are only ever added.
CREATE TABLE IF NOT EXISTS np_claw_audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation   text NOT NULL,
    actor       text NOT NULL,
    details     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION np_claw_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$body$;

DROP TRIGGER IF EXISTS np_claw_audit_log_append_only ON np_claw_audit_log;
CREATE TRIGGER np_claw_audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON np_claw_audit_log
FOR EACH STATEMENT EXECUTE FUNCTION np_claw_refuse_change();

INSERT INTO np_claw_schema_version (version) VALUES (11) ON CONFLICT DO NOTHING;
