-- The knowledge base: chunks of text, the operator's documents and notes, and vectors where pgvector is there.

CREATE TABLE np_claw_knowledge_state (
    name   text PRIMARY KEY,
    value  text NOT NULL
);

CREATE TABLE np_claw_knowledge_documents (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 1000),
    hash        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE np_claw_knowledge_chunks (
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
    hash         bytea NOT NULL
);
CREATE INDEX np_claw_knowledge_chunks_search ON np_claw_knowledge_chunks USING gin (search);
CREATE INDEX np_claw_knowledge_chunks_category ON np_claw_knowledge_chunks (category, id);
CREATE INDEX np_claw_knowledge_chunks_document ON np_claw_knowledge_chunks (document_id);

CREATE TABLE np_claw_knowledge_notes (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    chunk_id    text NOT NULL,
    note        text NOT NULL CHECK (length(note) BETWEEN 1 AND 4000),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX np_claw_knowledge_notes_chunk ON np_claw_knowledge_notes (chunk_id, created_at, id);

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
    NEW.hash := sha256(convert_to(
        concat_ws(E'\n', NEW.title, array_to_string(NEW.keywords, ' '), NEW.content, notes), 'UTF8'
    ));
    RETURN NEW;
END
$body$;
CREATE TRIGGER np_claw_knowledge_chunks_refresh BEFORE INSERT OR UPDATE ON np_claw_knowledge_chunks
FOR EACH ROW EXECUTE FUNCTION np_claw_knowledge_refresh();

CREATE OR REPLACE FUNCTION np_claw_knowledge_note_changed() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE np_claw_knowledge_chunks SET id = id WHERE id = coalesce(NEW.chunk_id, OLD.chunk_id);
    RETURN NULL;
END
$body$;
CREATE TRIGGER np_claw_knowledge_notes_changed AFTER INSERT OR UPDATE OR DELETE ON np_claw_knowledge_notes
FOR EACH ROW EXECUTE FUNCTION np_claw_knowledge_note_changed();

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
