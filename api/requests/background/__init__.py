"""Requests that no client waits for: open in Redis alone, so that they outlive every api process."""
