"""Stored responses and conversations: what of them is put before a request's own items."""
