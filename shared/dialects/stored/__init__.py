"""Responses as they are stored: what is known of one before its answer, its items, and what waits for PostgreSQL."""
