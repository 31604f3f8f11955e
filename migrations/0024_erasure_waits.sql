-- What is stored while its key is being erased is not left over.
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
