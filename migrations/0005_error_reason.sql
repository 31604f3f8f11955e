-- What an upstream itself said of a failure, for the operator.

ALTER TABLE np_claw_api_usage ADD COLUMN error_reason text;
