"""What is put before a client's messages."""
