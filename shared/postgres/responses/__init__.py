"""Stored responses and conversations of /v1/responses."""
