"""The web UI's data and queries in PostgreSQL."""
