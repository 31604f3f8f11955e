"""The knowledge base in PostgreSQL: chunks, documents, notes and vectors."""
