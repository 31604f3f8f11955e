"""The management API, for the operator."""
