-- The sessions that wait for an automatic title.

CREATE INDEX np_claw_sessions_untitled ON np_claw_sessions (last_message_at DESC)
    WHERE auto_title IS NULL AND title IS NULL AND message_count > 1;
