-- Whether a key's streams have comments: lines that keep them alive and tell places in queues. Some parsers take none.

ALTER TABLE np_claw_api_keys ADD COLUMN stream_comments boolean NOT NULL DEFAULT true;
