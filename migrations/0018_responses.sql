-- What /v1/responses stores, under the id of its request. A null key_id is the internal token's. `body` is the response
-- object's JSON, `input` the list of the items that the request itself brought; what came before them has the response
-- `previous_id`, or the conversation. `root_id` is the first response of a chain: it is kept for as long as its newest one.
-- `item_ids` are those of both, by which requests refer to items.
CREATE TABLE np_claw_responses (
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

CREATE INDEX np_claw_responses_key ON np_claw_responses (key_id, id);
CREATE INDEX np_claw_responses_old ON np_claw_responses (created_at);
CREATE INDEX np_claw_responses_chain ON np_claw_responses (root_id, created_at);
CREATE INDEX np_claw_responses_items ON np_claw_responses USING gin (item_ids);

CREATE TABLE np_claw_conversations (
    id            uuid PRIMARY KEY,
    key_id        uuid REFERENCES np_claw_api_keys ON DELETE CASCADE,
    metadata      text NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX np_claw_conversations_key ON np_claw_conversations (key_id, id);
CREATE INDEX np_claw_conversations_old ON np_claw_conversations (last_used_at);

-- Items of a response have its id; those that a client added itself have none.
CREATE TABLE np_claw_conversation_items (
    conversation_id  uuid NOT NULL REFERENCES np_claw_conversations ON DELETE CASCADE,
    position         integer NOT NULL CHECK (position >= 0),
    response_id      uuid,
    id               text NOT NULL,
    item             text NOT NULL,
    PRIMARY KEY (conversation_id, position),
    UNIQUE (conversation_id, id)
);

CREATE TRIGGER np_claw_responses_of_nobody BEFORE INSERT ON np_claw_responses
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();

CREATE TRIGGER np_claw_conversations_of_nobody BEFORE INSERT ON np_claw_conversations
FOR EACH ROW EXECUTE FUNCTION np_claw_refuse_erased();
