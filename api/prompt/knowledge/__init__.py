"""The knowledge base: what is searched for a question, and what a model is told of it."""
