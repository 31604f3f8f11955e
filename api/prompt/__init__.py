"""Text that is put before a client's messages."""
