"""A request in flight."""
