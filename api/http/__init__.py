"""Bytes in and bytes out: bodies, CORS, errors, event streams."""
