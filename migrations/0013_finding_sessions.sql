-- Listing the sessions of all keys by their last use, and finding them by their titles.

CREATE INDEX np_claw_sessions_recent ON np_claw_sessions (last_message_at DESC, id DESC);
CREATE INDEX np_claw_sessions_title ON np_claw_sessions
    USING gin (to_tsvector('simple', coalesce(title, '') || ' ' || coalesce(auto_title, '')));
