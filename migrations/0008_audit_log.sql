-- What was changed by the management API, and each request in admin mode. Rows are only ever added.
CREATE TABLE np_claw_audit_log (
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

CREATE TRIGGER np_claw_audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON np_claw_audit_log
FOR EACH STATEMENT EXECUTE FUNCTION np_claw_refuse_change();
