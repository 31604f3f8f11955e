"""Profiles of the gateway: CPU time by its parts."""
