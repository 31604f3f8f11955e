-- What a model thought before its answer, for people to read: no model is told it again.

ALTER TABLE np_claw_messages ADD COLUMN reasoning text;
