-- What happened to a request on its way, for the operator.

ALTER TABLE np_claw_api_usage ADD COLUMN story text;
