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
    tokens_per_minute  integer CHECK (tokens_per_minute BETWEEN 1 AND 60000000),
    stream_comments  boolean NOT NULL DEFAULT true,
    erased_at       timestamptz,
    revision        integer NOT NULL DEFAULT 0
);

-- Secrets that were taken from a key by a rotation. Each opens it until `valid_until`, and is refused by name after that.
CREATE TABLE IF NOT EXISTS np_claw_retired_secrets (
    key_hash     bytea PRIMARY KEY CHECK (length(key_hash) = 32),
    key_id       uuid NOT NULL REFERENCES np_claw_api_keys ON DELETE CASCADE,
    valid_until  timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS np_claw_retired_secrets_key ON np_claw_retired_secrets (key_id);

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

-- One row a request; `day` is the UTC day of `admitted_at`. A null key_id is the internal token, one of zeros a key that was
-- erased. Of a key that is refused
-- very often, one row of a minute, status and error code stands for `count` requests. Of the prompt's tokens the gateway
-- put about `added_tokens` before the client's messages. `error_reason` is what the upstream itself said of a failure, bounded
-- and with secrets masked; `story` is JSON: what happened on the way, [milliseconds since 1970, word, where or why]
-- each. `purpose` is what a request of the gateway's own was for, empty for a client's.
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
    story              text,
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
CREATE INDEX IF NOT EXISTS np_claw_sessions_recent ON np_claw_sessions (last_message_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS np_claw_sessions_untitled ON np_claw_sessions (last_message_at DESC)
    WHERE auto_title IS NULL AND title IS NULL AND message_count > 1;
CREATE INDEX IF NOT EXISTS np_claw_sessions_title ON np_claw_sessions
    USING gin (to_tsvector('simple', coalesce(title, '') || ' ' || coalesce(auto_title, '')));

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
    reasoning      text,
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

-- Rows are only ever added, but for what np_claw_erase_from_audit takes out of them: the trigger sees who calls.
CREATE OR REPLACE FUNCTION np_claw_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $body$
DECLARE
    calls text;
BEGIN
    GET DIAGNOSTICS calls = PG_CONTEXT;
    IF TG_OP = 'UPDATE' AND calls ~ E'\nPL/pgSQL function np_claw_erase_from_audit\\(uuid\\) line' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$body$;

-- Takes the name of a key out of the audit log, and adds an entry that says so, without the name. Returns from how many
-- entries. Ids in paths are as they were written.
CREATE OR REPLACE FUNCTION np_claw_erase_from_audit(key uuid) RETURNS integer
LANGUAGE plpgsql AS $body$
DECLARE
    found integer;
BEGIN
    UPDATE np_claw_audit_log SET details = jsonb_set(details, '{asked,name}', '"(erased)"')
    WHERE details #>> '{asked,name}' <> '(erased)'
        AND (
            details ->> 'made' = key::text
            OR regexp_replace(lower(details ->> 'key_id'), '[^0-9a-f]', '', 'g') = replace(key::text, '-', '')
        );
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found > 0 THEN
        INSERT INTO np_claw_audit_log (operation, actor, details)
        VALUES ('erase_from_audit', 'database', jsonb_build_object('key_id', key, 'entries', found));
    END IF;
    RETURN found;
END
$body$;

-- What ends after its key was erased begins no session, and stores no response.
CREATE OR REPLACE FUNCTION np_claw_refuse_erased() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_TABLE_NAME = 'np_claw_sessions' AND EXISTS (SELECT 1 FROM np_claw_sessions WHERE id = NEW.id) THEN
        RETURN NEW;
    END IF;
    -- Waits for an erasure under way, and lets one that comes wait: neither misses what the other does.
    PERFORM 1 FROM np_claw_api_keys WHERE id = NEW.key_id FOR SHARE;
    IF EXISTS (SELECT 1 FROM np_claw_api_keys WHERE id = NEW.key_id AND erased_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$body$;

DROP TRIGGER IF EXISTS np_claw_sessions_of_nobody ON np_claw_sessions;
CREATE TRIGGER np_claw_sessions_of_nobody BEFORE INSERT ON np_claw_sessions
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();

CREATE INDEX IF NOT EXISTS np_claw_sessions_old ON np_claw_sessions (last_message_at);

DROP TRIGGER IF EXISTS np_claw_audit_log_append_only ON np_claw_audit_log;
CREATE TRIGGER np_claw_audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON np_claw_audit_log
FOR EACH STATEMENT EXECUTE FUNCTION np_claw_refuse_change();

-- The knowledge base. `builtin` of the state is the hash of what this gateway brings itself.
CREATE TABLE IF NOT EXISTS np_claw_knowledge_state (
    name   text PRIMARY KEY,
    value  text NOT NULL
);

CREATE TABLE IF NOT EXISTS np_claw_knowledge_documents (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 1000),
    hash        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Chunks without a document are the gateway's own. Notes of the operator are part of what is searched; they outlive
-- their chunk, and have effect again where it comes back. `search`, `hash` and, of a chunk with notes,
-- `search_without_notes` are made by a trigger.
CREATE TABLE IF NOT EXISTS np_claw_knowledge_chunks (
    id           text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    document_id  uuid REFERENCES np_claw_knowledge_documents ON DELETE CASCADE,
    category     text NOT NULL,
    title        text NOT NULL,
    content      text NOT NULL,
    keywords     text[] NOT NULL,
    commands     text[] NOT NULL,
    tags         text[] NOT NULL,
    source       text NOT NULL,
    search       tsvector NOT NULL,
    hash         bytea NOT NULL,
    search_without_notes  tsvector
);
CREATE INDEX IF NOT EXISTS np_claw_knowledge_chunks_search ON np_claw_knowledge_chunks USING gin (search);
CREATE INDEX IF NOT EXISTS np_claw_knowledge_chunks_category ON np_claw_knowledge_chunks (category, id);
CREATE INDEX IF NOT EXISTS np_claw_knowledge_chunks_document ON np_claw_knowledge_chunks (document_id);

CREATE TABLE IF NOT EXISTS np_claw_knowledge_notes (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    chunk_id    text NOT NULL,
    note        text NOT NULL CHECK (length(note) BETWEEN 1 AND 4000),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS np_claw_knowledge_notes_chunk ON np_claw_knowledge_notes (chunk_id, created_at, id);

CREATE OR REPLACE FUNCTION np_claw_knowledge_notes_of(wanted text) RETURNS text
LANGUAGE sql STABLE AS $body$
    SELECT coalesce(string_agg(note, E'\n' ORDER BY created_at, id), '') FROM np_claw_knowledge_notes
    WHERE chunk_id = wanted
$body$;

CREATE OR REPLACE FUNCTION np_claw_knowledge_search_text(
    title text, keywords text[], commands text[], tags text[], content text, notes text
) RETURNS tsvector
LANGUAGE sql STABLE AS $body$
    SELECT setweight(to_tsvector('english', title || ' ' || array_to_string(keywords, ' ')), 'A')
        || setweight(to_tsvector('english', array_to_string(commands || tags, ' ')), 'B')
        || setweight(to_tsvector('english', notes), 'C')
        || setweight(to_tsvector('english', content), 'D')
$body$;

CREATE OR REPLACE FUNCTION np_claw_knowledge_refresh() RETURNS trigger
LANGUAGE plpgsql AS $body$
DECLARE
    notes text := np_claw_knowledge_notes_of(NEW.id);
BEGIN
    NEW.search := np_claw_knowledge_search_text(
        NEW.title, NEW.keywords, NEW.commands, NEW.tags, NEW.content, notes
    );
    NEW.search_without_notes := CASE WHEN notes <> '' THEN np_claw_knowledge_search_text(
        NEW.title, NEW.keywords, NEW.commands, NEW.tags, NEW.content, ''
    ) END;
    NEW.hash := sha256(convert_to(
        concat_ws(E'\n', NEW.title, array_to_string(NEW.keywords, ' '), NEW.content, notes), 'UTF8'
    ));
    RETURN NEW;
END
$body$;
DROP TRIGGER IF EXISTS np_claw_knowledge_chunks_refresh ON np_claw_knowledge_chunks;
CREATE TRIGGER np_claw_knowledge_chunks_refresh BEFORE INSERT OR UPDATE ON np_claw_knowledge_chunks
FOR EACH ROW EXECUTE FUNCTION np_claw_knowledge_refresh();

CREATE OR REPLACE FUNCTION np_claw_knowledge_note_changed() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE np_claw_knowledge_chunks SET id = id WHERE id = coalesce(NEW.chunk_id, OLD.chunk_id);
    RETURN NULL;
END
$body$;
DROP TRIGGER IF EXISTS np_claw_knowledge_notes_changed ON np_claw_knowledge_notes;
CREATE TRIGGER np_claw_knowledge_notes_changed AFTER INSERT OR UPDATE OR DELETE ON np_claw_knowledge_notes
FOR EACH ROW EXECUTE FUNCTION np_claw_knowledge_note_changed();

-- Chunks of which a model makes no vector: it is asked again from `again_at` on, and at once about another text.
CREATE TABLE IF NOT EXISTS np_claw_knowledge_failures (
    model     text NOT NULL,
    chunk_id  text NOT NULL REFERENCES np_claw_knowledge_chunks ON DELETE CASCADE,
    hash      bytea NOT NULL,
    reason    text NOT NULL,
    tries     integer NOT NULL DEFAULT 1,
    again_at  timestamptz NOT NULL DEFAULT now() + interval '1 minute',
    PRIMARY KEY (model, chunk_id)
);
CREATE INDEX IF NOT EXISTS np_claw_knowledge_failures_chunk ON np_claw_knowledge_failures (chunk_id);

-- Makes the table of vectors where pgvector can be had, and says whether it is there. Called when it is first needed: a
-- database without the extension is as good but for that.
CREATE OR REPLACE FUNCTION np_claw_knowledge_ensure_vectors() RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
    IF to_regclass('np_claw_knowledge_vectors') IS NOT NULL THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('np_claw_knowledge_vectors', 0));
    IF to_regtype('vector') IS NULL THEN
        BEGIN
            CREATE EXTENSION IF NOT EXISTS vector;
        EXCEPTION WHEN OTHERS THEN
            RETURN false;
        END;
    END IF;
    CREATE TABLE IF NOT EXISTS np_claw_knowledge_vectors (
        model      text NOT NULL,
        chunk_id   text NOT NULL REFERENCES np_claw_knowledge_chunks ON DELETE CASCADE,
        hash       bytea NOT NULL,
        embedding  vector NOT NULL,
        PRIMARY KEY (model, chunk_id)
    );
    CREATE INDEX IF NOT EXISTS np_claw_knowledge_vectors_chunk ON np_claw_knowledge_vectors (chunk_id);
    RETURN true;
END
$body$;

-- What /v1/responses stores, under the id of its request. A null key_id is the internal token's. `body` is the response
-- object's JSON, `input` the list of the items that the request itself brought; what came before them has the response
-- `previous_id`, or the conversation. `root_id` is the first response of a chain: it is kept for as long as its newest one.
-- `item_ids` are those of both, by which requests refer to items.
CREATE TABLE IF NOT EXISTS np_claw_responses (
    id               uuid PRIMARY KEY,
    key_id           uuid REFERENCES np_claw_api_keys ON DELETE CASCADE,
    previous_id      uuid,
    root_id          uuid NOT NULL,
    conversation_id  uuid,
    input            text NOT NULL,
    body             text NOT NULL,
    item_ids         text[] NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS np_claw_responses_key ON np_claw_responses (key_id, id);
CREATE INDEX IF NOT EXISTS np_claw_responses_old ON np_claw_responses (created_at);
CREATE INDEX IF NOT EXISTS np_claw_responses_chain ON np_claw_responses (root_id, created_at);
CREATE INDEX IF NOT EXISTS np_claw_responses_items ON np_claw_responses USING gin (item_ids);

CREATE TABLE IF NOT EXISTS np_claw_conversations (
    id            uuid PRIMARY KEY,
    key_id        uuid REFERENCES np_claw_api_keys ON DELETE CASCADE,
    metadata      text NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS np_claw_conversations_key ON np_claw_conversations (key_id, id);
CREATE INDEX IF NOT EXISTS np_claw_conversations_old ON np_claw_conversations (last_used_at);

-- Items of a response have its id; those that a client added itself have none.
CREATE TABLE IF NOT EXISTS np_claw_conversation_items (
    conversation_id  uuid NOT NULL REFERENCES np_claw_conversations ON DELETE CASCADE,
    position         integer NOT NULL CHECK (position >= 0),
    response_id      uuid,
    id               text NOT NULL,
    item             text NOT NULL,
    PRIMARY KEY (conversation_id, position),
    UNIQUE (conversation_id, id)
);

DROP TRIGGER IF EXISTS np_claw_responses_of_nobody ON np_claw_responses;
CREATE TRIGGER np_claw_responses_of_nobody BEFORE INSERT ON np_claw_responses
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();

DROP TRIGGER IF EXISTS np_claw_conversations_of_nobody ON np_claw_conversations;
CREATE TRIGGER np_claw_conversations_of_nobody BEFORE INSERT ON np_claw_conversations
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();

-- The web UI's password as an argon2 hash, and the generation of its sessions: a new one ends them all. One row.
CREATE TABLE IF NOT EXISTS np_claw_web_ui (
    id             boolean PRIMARY KEY DEFAULT true CHECK (id),
    password_hash  text,
    generation     uuid NOT NULL DEFAULT gen_random_uuid(),
    changed_at     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO np_claw_web_ui DEFAULT VALUES ON CONFLICT DO NOTHING;

INSERT INTO np_claw_schema_version (version) VALUES (24) ON CONFLICT DO NOTHING;
