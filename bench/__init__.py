"""Measured costs of the gateway: `python -m bench`."""
