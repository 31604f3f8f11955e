"""`nself claw ui`: the web UI's address and password."""
