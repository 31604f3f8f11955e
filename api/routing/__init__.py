"""Routing: the candidates of a request."""
