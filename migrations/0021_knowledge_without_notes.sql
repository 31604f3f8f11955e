-- Chunks that a model makes no vector of, and what is searched of chunks by those who may not know of the notes.

CREATE TABLE np_claw_knowledge_failures (
    model     text NOT NULL,
    chunk_id  text NOT NULL REFERENCES np_claw_knowledge_chunks ON DELETE CASCADE,
    hash      bytea NOT NULL,
    reason    text NOT NULL,
    tries     integer NOT NULL DEFAULT 1,
    again_at  timestamptz NOT NULL DEFAULT now() + interval '1 minute',
    PRIMARY KEY (model, chunk_id)
);
CREATE INDEX np_claw_knowledge_failures_chunk ON np_claw_knowledge_failures (chunk_id);

ALTER TABLE np_claw_knowledge_chunks ADD COLUMN search_without_notes tsvector;

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

UPDATE np_claw_knowledge_chunks SET id = id WHERE id IN (SELECT chunk_id FROM np_claw_knowledge_notes);
