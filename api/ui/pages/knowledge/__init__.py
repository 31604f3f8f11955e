"""The knowledge base: searched, listed, with the operator's documents and notes."""
