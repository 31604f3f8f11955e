-- Erased: the key is revoked, its chats are gone, its usage is nobody's, and its name is out of the audit log.
ALTER TABLE np_claw_api_keys ADD COLUMN erased_at timestamptz;

CREATE INDEX np_claw_sessions_old ON np_claw_sessions (last_message_at);

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

-- What ends after its key was erased begins no session.
CREATE OR REPLACE FUNCTION np_claw_refuse_erased() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    IF EXISTS (SELECT 1 FROM np_claw_api_keys WHERE id = NEW.key_id AND erased_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$body$;

CREATE TRIGGER np_claw_sessions_of_nobody BEFORE INSERT ON np_claw_sessions
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();
