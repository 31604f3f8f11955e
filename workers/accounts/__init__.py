"""Credentials with their quotas, and what their failures mean."""
