"""The usage log's way into PostgreSQL; no model is called here."""
