"""What the web UI has in PostgreSQL, and asks it."""
