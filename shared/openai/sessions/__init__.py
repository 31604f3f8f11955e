"""Stored chats, as part of chat requests. Pure: no I/O, no clock."""
