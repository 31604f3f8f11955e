"""API keys for the operator: created, changed and revoked, exported and erased."""
