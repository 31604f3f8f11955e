"""/claw/sessions: the chats that are stored."""
