"""Sessions: stored chats that a request continues."""
