"""The chat: asking, reading and tidying up what was said."""
